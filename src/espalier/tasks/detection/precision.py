"""Average precision and recall, by COCO's rules, of any number of weightings of the pictures at once.

A resample is a weight for each picture. Nothing is matched anew: precision has its peaks where something right was
found, so what is needed is how much was right and how much was said down to there, and these are sums over pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from espalier.tasks.detection.collected import Columns
from espalier.tasks.detection.matching import OVERLAPS, Matches

RECALLS = np.linspace(0, 1, 101)
"""COCO's, at which precision is looked up."""

WIDE = 32  # resamples at once


@dataclass(frozen=True)
class Ranked:
    """The detections of a class that count, by falling score, and the S peaks of their precision.

    `said` (S, N) is how many a picture says between the peak before and each peak, `picture` (S,) whose the peak is.
    """

    said: sparse.csr_array
    picture: NDArray[np.int64]

    @staticmethod
    def of(picture: NDArray[np.int64], right: NDArray[np.bool_], pictures: int) -> Ranked:
        """From the pictures of the detections, best first, and whether each is right."""
        peaks = np.flatnonzero(right)
        kept = peaks[-1] + 1 if len(peaks) else 0  # what comes after the last peak changes nothing
        ends = np.concatenate([[0], peaks + 1])
        table = sparse.csr_array((np.ones(kept), picture[:kept], ends), shape=(len(peaks), pictures))
        return Ranked(table, picture[peaks])


def precision_at_peaks(
    ranked: Ranked, positives_B: NDArray[np.float64], weights_NB: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(precision, how many of `RECALLS` are reached), (S, B) at each peak; precision is the best from there on."""
    right_SB = _running(np.add, weights_NB[ranked.picture])
    said_SB = _running(np.add, ranked.said @ weights_NB)
    said_SB += np.spacing(1)
    precision_SB = np.divide(right_SB, said_SB, out=said_SB)
    _running(np.maximum, precision_SB[::-1])
    right_SB /= np.maximum(positives_B, 1e-12)
    return precision_SB, _reached(right_SB)


def _running(join: np.ufunc, rows_SB: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row joined with all before it, in place. Row by row, which for wide rows is six times as fast as cumsum."""
    if rows_SB.shape[1] < WIDE:
        join.accumulate(rows_SB, axis=0, out=rows_SB)
        return rows_SB
    for before, row in pairwise(rows_SB):
        join(before, row, out=row)
    return rows_SB


def _reached(recall_SB: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many of `RECALLS` are no more than each recall. They are hundredths, but for rounding: what lies on one, or
    nearly, is compared with the very number, as pycocotools does."""
    hundredths_SB = recall_SB * (len(RECALLS) - 1)
    reached_SB = hundredths_SB.astype(np.int64) + 1
    hundredths_SB -= np.rint(hundredths_SB)
    near = np.flatnonzero(np.abs(hundredths_SB, out=hundredths_SB) < 1e-9)
    reached_SB.flat[near] = np.searchsorted(RECALLS, recall_SB.flat[near], side="right")
    return reached_SB


def average_precision(
    ranked: Ranked, positives_B: NDArray[np.float64], weights_NB: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(B,) the mean of the interpolated precision over `RECALLS`; NaN where there is no object."""
    precision_SB, reached_SB = precision_at_peaks(ranked, positives_B, weights_NB)
    reached_SB[1:] -= reached_SB[:-1].copy()  # now how many more than at the peak before
    area_B = np.einsum("sb,sb->b", precision_SB, reached_SB) / len(RECALLS)
    return np.where(positives_B > 1e-12, area_B, np.nan)


def precision_curve(
    ranked: Ranked, positives_B: NDArray[np.float64], weights_NB: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(101, B) the interpolated precision at each of `RECALLS`; NaN where there is no object."""
    precision_SB, reached_SB = precision_at_peaks(ranked, positives_B, weights_NB)
    peaks, draws = reached_SB.shape
    # At recall r the first peak counts that reaches it: there are as many before it as reach fewer.
    flat = reached_SB + np.arange(draws) * (len(RECALLS) + 1)
    below = np.bincount(flat.ravel(), minlength=draws * (len(RECALLS) + 1)).reshape(draws, -1)
    first_RB = np.cumsum(below, axis=1)[:, : len(RECALLS)].T
    padded = np.concatenate([precision_SB, np.zeros((1, draws))])
    found_RB = np.take_along_axis(padded, np.minimum(first_RB, peaks), axis=0)
    return np.where(positives_B > 1e-12, found_RB, np.nan)


@dataclass(frozen=True)
class Rankings:
    """Every class at the sizes asked for and every threshold, and how many objects each picture has."""

    ranked: dict[tuple[int, int, int], Ranked]  # (class, size, overlap)
    positives: dict[int, sparse.csr_array]  # size → (C, N)
    sizes: tuple[int, ...]
    classes: int

    @staticmethod
    def of(columns: Columns, matches: Matches, sizes: Sequence[int]) -> Rankings:
        """From the matches."""
        ranked, pictures = {}, len(columns.pictures.names)
        for size in sizes:
            for overlap in range(len(OVERLAPS)):
                right, counts = matches.of(size, overlap)
                for c, order in enumerate(columns.best_first):
                    rows = order[counts[order]]
                    ranked[c, size, overlap] = Ranked.of(columns.found.picture[rows], right[rows], pictures)
        positives = {size: objects_of(columns, matches.counted[:, size]) for size in sizes}
        return Rankings(ranked, positives, tuple(sizes), len(columns.classes))

    def average_precision(
        self, weights_NB: NDArray[np.float64], sizes: Sequence[int] | None = None
    ) -> NDArray[np.float64]:
        """(C, A, T, B), A the sizes asked for, else all; NaN where there is no object."""
        sizes = self.sizes if sizes is None else sizes
        found = np.empty((self.classes, len(sizes), len(OVERLAPS), weights_NB.shape[1]))
        for a, size in enumerate(sizes):
            positives_CB = self.positives[size] @ weights_NB
            for c in range(self.classes):
                for t in range(len(OVERLAPS)):
                    found[c, a, t] = average_precision(self.ranked[c, size, t], positives_CB[c], weights_NB)
        return found

    @property
    def width(self) -> int:
        """How many numbers a resample holds while it is worked on."""
        peaks = max((len(one.picture) for one in self.ranked.values()), default=0)
        return 6 * peaks + self.classes * (1 + len(self.sizes) * len(OVERLAPS))


def objects_of(columns: Columns, counted: NDArray[np.bool_]) -> sparse.csr_array:
    """(C, N) objects that have to be found, by class and picture."""
    rows = np.flatnonzero(counted)
    cells = (columns.objects.class_id[rows], columns.objects.picture[rows])
    shape = (len(columns.classes), len(columns.pictures.names))
    return sparse.csr_array((np.ones(len(rows)), cells), shape=shape)


@dataclass(frozen=True)
class Recalls:
    """What was found of the objects of a range of sizes, by the `most` best detections of each class and picture."""

    right: sparse.csr_array  # (C·T, N)
    positives: sparse.csr_array  # (C, N)

    @staticmethod
    def of(columns: Columns, matches: Matches, *, size: int, most: int) -> Recalls:
        """From the matches."""
        found, overlaps = columns.found, len(OVERLAPS)
        row, overlap = np.nonzero(matches.right[:, size] & (found.rank[matches.met] < most)[:, None])
        d = matches.met[row]
        cells = (found.class_id[d] * overlaps + overlap, found.picture[d])
        shape = (len(columns.classes) * overlaps, len(columns.pictures.names))
        table = sparse.csr_array((np.ones(len(d)), cells), shape=shape)
        return Recalls(table, objects_of(columns, matches.counted[:, size]))

    def __call__(self, weights_NB: NDArray[np.float64]) -> NDArray[np.float64]:
        """(C, B) the mean over the thresholds; NaN where there is no object."""
        positives_CB = self.positives @ weights_NB
        right_CTB = (self.right @ weights_NB).reshape(len(positives_CB), len(OVERLAPS), -1)
        share = right_CTB.mean(axis=1) / np.maximum(positives_CB, 1e-12)
        return np.where(positives_CB > 1e-12, share, np.nan)
