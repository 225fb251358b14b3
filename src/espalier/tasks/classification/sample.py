"""Labels → the truth of a picture → the array that the loss needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier.errors import DataError, Problem
from espalier.tasks.base import Annotations


@dataclass(frozen=True)
class ClassificationTarget:
    """The classes of a picture, ascending. Empty: none of them (several labels), or not labelled (one label)."""

    class_ids: tuple[int, ...]


def target(annotations: Annotations, classes: Sequence[str], name: str) -> ClassificationTarget:
    """The classes among the annotations, however many rows each has. Raises DataError for an id that has no class."""
    ids = tuple(int(i) for i in np.unique(annotations.class_id))
    if ids and not 0 <= ids[0] <= ids[-1] < len(classes):
        wrong = [i for i in ids if not 0 <= i < len(classes)]
        raise DataError(Problem(name, f"class id {wrong[0]} is not one of the {len(classes)} classes"))
    return ClassificationTarget(ids)


def class_vector(truth: ClassificationTarget, count: int) -> NDArray[np.float32]:
    """(C,) with 1 at each of the picture's classes: one-hot, or multi-hot."""
    vector = np.zeros(count, np.float32)
    vector[list(truth.class_ids)] = 1.0
    return vector
