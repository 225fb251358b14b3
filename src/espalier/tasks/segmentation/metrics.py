"""Predictions and truths picture by picture → scores; keeps counts, never a mask: a million pictures need no more
memory for their pixels than one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from espalier.errors import DataError, Problem
from espalier.tasks.base import Sample, Scores
from espalier.tasks.collected import Pictures
from espalier.tasks.segmentation import counts, report
from espalier.tasks.segmentation.figures import Kept
from espalier.tasks.segmentation.prediction import SegmentMap


class SegmentationMetrics:
    """mIoU and what belongs to it. Pixels of which nothing is known count nowhere, and pictures that have no other
    pixels neither. Intervals resample pictures or their groups."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._count = counts.Counter(len(classes))
        self._rows: list[tuple[str, str]] = []
        self._counts: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []  # where a picture's counts are not 0

    def update(self, predictions: Sequence[SegmentMap], samples: Sequence[Sample]) -> None:
        """Adds predictions and their samples, in the same order. Raises DataError for a mask of another size."""
        for prediction, sample in zip(predictions, samples, strict=True):
            truth_HW = sample.target.class_map(prediction.size_hw, where=sample.name)
            self.add(prediction.class_HW, truth_HW, sample.name, sample.group)

    def add(
        self, said_HW: NDArray[np.unsignedinteger], truth_HW: NDArray[np.unsignedinteger], name: str, group: str
    ) -> None:
        """One picture's class maps. Raises ValueError for maps of different sizes."""
        found = self._count(said_HW, truth_HW)
        there = np.flatnonzero(found)
        self._rows.append((name, group))
        self._counts.append((there, found[there]))

    def kept(self) -> Kept:
        """What was counted. Raises DataError without a pixel of which something is known."""
        scored = [row for row, (there, _) in enumerate(self._counts) if len(there)]
        if not scored:
            what = "there is no picture with a labelled pixel to score"
            raise DataError(Problem("", what, fix="give pictures with masks, or with outlines of every class"))
        names, groups = zip(*(self._rows[row] for row in scored), strict=True)
        columns, values = zip(*(self._counts[row] for row in scored), strict=True)
        ends = np.concatenate([[0], np.cumsum([len(each) for each in columns])])
        shape = (len(scored), counts.width(len(self.classes)))
        table = (np.concatenate(values).astype(np.float64), np.concatenate(columns), ends)
        return Kept(Pictures(names, groups), self.classes, sparse.csr_array(table, shape=shape))

    def compute(self, *, bootstrap: int = 0, seed: int = 0) -> Scores:
        """The figures; `bootstrap` resamples of the pictures give the intervals. Raises DataError as `kept` does."""
        return report.scores(self.kept(), bootstrap=bootstrap, seed=seed)
