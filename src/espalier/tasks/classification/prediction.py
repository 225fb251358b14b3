"""What a classifier says of one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLAT_CLASSES = 20  # a CSV row has a column for every class up to so many


@dataclass(frozen=True)
class Classification:
    """A score from 0 to 1 for each class.

    With one label they add up to 1 and `class_id` is the answer; with `multi_label` each class is its own question and
    the answer is every class whose score reaches `threshold`. Raises ValueError for scores that are none.
    """

    score_C: NDArray[np.float32]
    multi_label: bool = False
    threshold: float = 0.5

    def __post_init__(self) -> None:
        score_C = np.asarray(self.score_C, np.float32)
        if score_C.ndim != 1 or score_C.size == 0:
            raise ValueError(f"score_C must be a vector with a value for each class, not of shape {score_C.shape}")
        if not (np.isfinite(score_C).all() and score_C.min() >= 0 and score_C.max() <= 1 + 1e-5):
            raise ValueError("scores must lie between 0 and 1")
        object.__setattr__(self, "score_C", score_C)

    @property
    def class_id(self) -> int:
        """The class of the highest score; the first of equals."""
        return int(self.score_C.argmax())

    @property
    def score(self) -> float:
        """The highest score."""
        return float(self.score_C.max())

    @property
    def class_ids(self) -> tuple[int, ...]:
        """The answer: one class, or with several labels all that reach the threshold."""
        if not self.multi_label:
            return (self.class_id,)
        return tuple(int(i) for i in np.flatnonzero(self.score_C >= self.threshold))

    def label(self, classes: Sequence[str]) -> str:
        """The answer in words, such as 'crown 97 %'."""
        said = sorted(self.class_ids, key=lambda i: -self.score_C[i])
        return ", ".join(f"{classes[i]} {self.score_C[i]:.0%}".replace("%", " %") for i in said) or "none"


def to_json(prediction: Classification, classes: Sequence[str]) -> dict[str, Any]:
    """The answer and every class's score, by name."""
    scores = {name: round(float(s), 6) for name, s in zip(classes, prediction.score_C, strict=True)}
    if prediction.multi_label:
        return {
            "classes": [classes[i] for i in prediction.class_ids],
            "threshold": prediction.threshold,
            "scores": scores,
        }
    return {"class": classes[prediction.class_id], "score": round(prediction.score, 6), "scores": scores}


def row(prediction: Classification, classes: Sequence[str]) -> dict[str, Any]:
    """A flat record: the answer, its score, and up to 20 classes' scores in columns `score:NAME`."""
    if prediction.multi_label:
        flat: dict[str, Any] = {"classes": ";".join(classes[i] for i in prediction.class_ids)}
    else:
        flat = {"class": classes[prediction.class_id], "score": round(prediction.score, 6)}
    if len(classes) <= FLAT_CLASSES:
        flat |= {f"score:{name}": round(float(s), 6) for name, s in zip(classes, prediction.score_C, strict=True)}
    return flat
