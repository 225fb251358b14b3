"""What a task may offer to those who write its predictions, beside what every task has: labels, and tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.base import Annotations


@dataclass(frozen=True)
class SaidLabels:
    """A prediction as labels, one row for each of the task's `rows`; `score` (n,) is how sure the model is of each."""

    annotations: Annotations
    score: NDArray[Any]


@dataclass(frozen=True)
class Boxes:
    """All boxes of a prediction, also those that are not said: `said` marks those that are, in the order of `rows`."""

    box_xyxy: NDArray[Any]  # (n, 4)
    score: NDArray[Any]  # (n,)
    class_id: NDArray[Any]  # (n,)
    said: NDArray[np.bool_]  # (n,)
    threshold: float


@runtime_checkable
class Annotating(Protocol):
    """A task whose predictions can be labels, so that data formats hold them."""

    gives: frozenset[str]  # kinds of annotation, in the words of the data formats: 'label', 'box', 'polygon', 'rle'

    def annotations(self, prediction: Any, classes: Sequence[str]) -> SaidLabels:
        """What is said of the picture, as its labels."""


@runtime_checkable
class Trackable(Protocol):
    """A task whose objects can be followed through a video."""

    def boxes(self, prediction: Any) -> Boxes:
        """Where the objects are."""

    def tracked(self, prediction: Any, track_id: NDArray[np.int64]) -> Any:
        """The prediction with the track of each of its boxes, -1 for none: in rows, in JSON, and when drawn."""
