"""What of a classifier's answer can be explained: a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.base import Answer, ExplainTarget, class_asked
from espalier.tasks.classification.prediction import Classification


def targets(answer: Answer, asked: Sequence[str], classes: Sequence[str]) -> list[ExplainTarget]:
    """The classes asked for, by name or id; without any the class of the highest score."""
    ids = [class_asked(word, classes) for word in asked] or [answer.prediction.class_id]
    return [target(class_id, classes) for class_id in ids]


def target(class_id: int, classes: Sequence[str]) -> ExplainTarget:
    """One class: its score, and the logit below it."""

    def scores(outputs: Mapping[str, NDArray[Any]], predictions: Sequence[Classification]) -> NDArray[np.float64]:
        return np.array([prediction.score_C[class_id] for prediction in predictions], np.float64)

    def activation(outputs: Mapping[str, Any]) -> Any:
        return outputs["logits"][:, class_id]

    return ExplainTarget(classes[class_id], f"'{classes[class_id]}'", scores, activation)
