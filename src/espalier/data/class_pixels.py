"""How many pixels of each class a set's labels say, as the task reads them: background and ignored ones too."""

from __future__ import annotations

import numpy as np

from espalier.data.index import UNKNOWN, Index
from espalier.tasks.base import Balanced, Task
from espalier.vision.image import probe

MOST_PICTURES = 500
"""Of more, so many are looked at, evenly spread: weights need no more, and each has to be painted or decoded."""


def class_pixels(index: Index, task: Task, balanced: Balanced) -> tuple[int, ...]:
    """(C,) the labelled pixels of each class. Raises DataError for labels that can't be used."""
    rows = np.unique(np.linspace(0, max(len(index) - 1, 0), min(MOST_PICTURES, len(index))).round().astype(int))
    total_C = np.zeros(len(index.classes), np.int64)
    for row in rows.tolist():
        sample = task.sample(None, index.annotations(row), index.classes, name=index.name(row), group="")
        total_C += balanced.pixels(sample, _size_hw(index, row))
    return tuple(total_C.tolist())


def _size_hw(index: Index, row: int) -> tuple[int, int]:
    height, width = index.size_hw[row].tolist()
    return probe(index.path(row)).size_hw if UNKNOWN in (height, width) else (height, width)
