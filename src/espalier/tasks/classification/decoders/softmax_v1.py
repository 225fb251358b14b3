"""One label: softmax of the logits, which a temperature may soften."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.classification.decoders.logits import logits_BC
from espalier.tasks.classification.prediction import Classification
from espalier.tasks.outputs import number
from espalier.vision.geometry import Geometry


class Softmax:
    """softmax(logits / temperature); parameter `temperature` (1)."""

    name = "softmax"
    version = 1

    def __call__(
        self,
        outputs: Mapping[str, NDArray[Any]],
        geometries: Sequence[Geometry],
        classes: Sequence[str],
        params: Mapping[str, Any],
    ) -> list[Classification]:
        values_BC = logits_BC(outputs, classes) / number(params, "temperature", 1.0, low=1e-3, high=1e3)
        score_BC = np.exp(values_BC - values_BC.max(axis=1, keepdims=True))
        score_BC /= score_BC.sum(axis=1, keepdims=True)
        return [Classification(score_C) for score_C in score_BC.astype(np.float32)]


DECODER = Softmax()
