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
    """Counts of each class by level and picture; a box counts at the highest level that its score reaches."""

    right: list[sparse.csr_array]  # C times (L, N)
    said: list[sparse.csr_array]  # C times (L, N)
    positives: sparse.csr_array  # (C, N)

    @staticmethod
    def of(columns: Columns, matches: Matches) -> Confidence:
        """From the matches."""
        found = columns.found
        right, counts = matches.of(ALL, HALF)
        level = np.searchsorted(LEVELS, found.score, side="right") - 1
        shape = (len(LEVELS), len(columns.pictures.names))

        def table(rows: NDArray[np.int64]) -> sparse.csr_array:
            return sparse.csr_array((np.ones(len(rows)), (level[rows], found.picture[rows])), shape=shape)

        return Confidence(
            [table(rows[right[rows]]) for rows in columns.best_first],
            [table(rows[counts[rows]]) for rows in columns.best_first],
            objects_of(columns, matches.counted[:, ALL]),
        )

    def rates(self, class_id: int, weights_NB: NDArray[np.float64]) -> Rates:
        """Those of a class under each weighting."""
        right, said = (
            np.cumsum((table[class_id] @ weights_NB)[::-1], axis=0)[::-1] for table in (self.right, self.said)
        )
        return Rates(right, said, self.positives[[class_id]] @ weights_NB)

    def mean_f1(self, weights_NB: NDArray[np.float64]) -> NDArray[np.float64]:
        """(L, B) over the classes with objects; NaN where there is none."""
        total, count = np.zeros((len(LEVELS), weights_NB.shape[1])), np.zeros(weights_NB.shape[1])
        for class_id in range(len(self.right)):
            f1 = self.rates(class_id, weights_NB).f1
            there = np.isfinite(f1[0])
            total += np.where(there, f1, 0.0)
            count += there
        return np.asarray(total / np.where(count > 0, count, np.nan), np.float64)


@dataclass(frozen=True)
class Rates:
    """Of a class, from each level on: how many are right and how many are said, (L, B); and the objects, (1, B)."""

    right: NDArray[np.float64]
    said: NDArray[np.float64]
    positives: NDArray[np.float64]

    @property
    def f1(self) -> NDArray[np.float64]:
        """(L, B); NaN without objects."""
        whole = self.said + self.positives
        return self._there(np.divide(2 * self.right, whole, out=np.zeros_like(whole), where=whole > 1e-12))

    @property
    def precision(self) -> NDArray[np.float64]:
        """(L, B); NaN without objects, and where nothing is said."""
        nothing = np.full_like(self.said, np.nan)
        return self._there(np.divide(self.right, self.said, out=nothing, where=self.said > 1e-12))

    @property
    def recall(self) -> NDArray[np.float64]:
        """(L, B); NaN without objects."""
        return self._there(self.right / np.maximum(self.positives, 1e-12))

    def _there(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(self.positives > 1e-12, values, np.nan)


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
