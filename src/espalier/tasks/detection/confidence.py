"""Precision, recall and F1 of what is said from each confidence on, at an overlap of 0.5; the best threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from espalier.tasks.detection.collected import Columns
from espalier.tasks.detection.matching import Matches
from espalier.tasks.detection.precision import objects_of

LEVELS = np.round(np.linspace(0, 1, 101), 2)
ALL, HALF = 0, 0  # the range of sizes and the overlap, in matching's lists


@dataclass(frozen=True)
class Confidence:
    """Counts by class, level and picture."""

    right: sparse.csr_array  # (C·L, N) right detections whose score first falls below the next level
    said: sparse.csr_array  # (C·L, N)
    positives: sparse.csr_array  # (C, N)

    @staticmethod
    def of(columns: Columns, matches: Matches) -> Confidence:
        """From the matches."""
        found = columns.found
        right, counts = matches.of(ALL, HALF)
        level = np.searchsorted(LEVELS, found.score, side="right") - 1
        shape = (len(columns.classes) * len(LEVELS), len(columns.pictures.names))

        def table(kept: NDArray[np.bool_]) -> sparse.csr_array:
            cells = (found.class_id[kept] * len(LEVELS) + level[kept], found.picture[kept])
            return sparse.csr_array((np.ones(int(kept.sum())), cells), shape=shape)

        return Confidence(table(right), table(counts), objects_of(columns, matches.counted[:, ALL]))

    def __call__(self, weights_NB: NDArray[np.float64]) -> Rates:
        """The rates under each weighting."""
        positives_CB = self.positives @ weights_NB
        shape = (len(positives_CB), len(LEVELS), -1)
        right, said = (
            np.cumsum((table @ weights_NB).reshape(shape)[:, ::-1], axis=1)[:, ::-1]
            for table in (self.right, self.said)
        )
        return Rates(right, said, positives_CB)

    @property
    def width(self) -> int:
        """How many numbers a resample holds while it is worked on."""
        return 6 * int(self.right.shape[0])


@dataclass(frozen=True)
class Rates:
    """From each level on: how many are right, how many are said, (C, L, B); and how many objects there are, (C, B)."""

    right: NDArray[np.float64]
    said: NDArray[np.float64]
    positives: NDArray[np.float64]

    @property
    def f1(self) -> NDArray[np.float64]:
        """(C, L, B); NaN for a class without objects."""
        whole = self.said + self.positives[:, None]
        value = np.divide(2 * self.right, whole, out=np.zeros_like(whole), where=whole > 1e-12)
        return self._there(value)

    @property
    def precision(self) -> NDArray[np.float64]:
        """(C, L, B); NaN for a class without objects, and where nothing is said."""
        nothing = np.full_like(self.said, np.nan)
        return self._there(np.divide(self.right, self.said, out=nothing, where=self.said > 1e-12))

    @property
    def recall(self) -> NDArray[np.float64]:
        """(C, L, B); NaN for a class without objects."""
        return self._there(self.right / np.maximum(self.positives, 1e-12)[:, None])

    def _there(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(self.positives[:, None] > 1e-12, values, np.nan)


def mean_of_classes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean along the first axis of what is there; NaN where nothing is."""
    there = np.isfinite(values)
    total, count = np.where(there, values, 0.0).sum(axis=0), there.sum(axis=0)
    return np.asarray(total / np.where(count > 0, count, np.nan), np.float64)


def best_level(f1_L: NDArray[np.float64]) -> float:
    """The threshold of the highest F1; the middle of the stretch where that is the same."""
    if not np.isfinite(f1_L).any():
        return float("nan")
    top = int(np.nanargmax(f1_L))
    end = top
    while end + 1 < len(f1_L) and f1_L[end + 1] >= f1_L[top] - 1e-12:
        end += 1
    return float(LEVELS[(top + end) // 2])
