"""Several labels: each class is its own yes or no."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from espalier.tasks.classification.decoders.logits import logits_BC
from espalier.tasks.classification.prediction import Classification
from espalier.tasks.outputs import number
from espalier.vision.geometry import Geometry


class Sigmoid:
    """sigmoid(logits); a class is there from the parameter `threshold` (0.5) on."""

    name = "sigmoid"
    version = 1

    def __call__(
        self,
        outputs: Mapping[str, NDArray[Any]],
        geometries: Sequence[Geometry],
        classes: Sequence[str],
        params: Mapping[str, Any],
    ) -> list[Classification]:
        threshold = number(params, "threshold", 0.5, low=0.0, high=1.0)
        score_BC = expit(logits_BC(outputs, classes)).astype(np.float32)
        return [Classification(score_C, multi_label=True, threshold=threshold) for score_C in score_BC]


DECODER = Sigmoid()
