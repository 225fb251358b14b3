"""Which detection finds which object, by COCO's rules; all pictures, classes, thresholds and sizes at once.

In a picture and class the detections choose in the order of their scores: each takes the free object that it overlaps
most, if by the threshold or more. An object outside the range of sizes, and a crowd, may be taken where none else is
left: the detection is then neither right nor wrong, nor is one that takes nothing and is itself out of the range.

Equal to pycocotools' evaluateImg (P. Dollár and T.-Y. Lin, BSD), whose loops these are, turned inside out: one step
for the best detection of every picture and class, one for the second, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.detection.collected import Columns, Found, Objects
from espalier.vision import boxes

OVERLAPS = np.linspace(0.5, 0.95, 10)
"""COCO's thresholds of intersection over union."""

SIZES = ("all", "small", "medium", "large")
AREA_PX2 = np.array([[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]], np.float64)
"""COCO's ranges of area, both ends inside."""

PAIRS_AT_ONCE = 1 << 21
FREE = -1


@dataclass(frozen=True)
class Matches:
    """What became of each detection, at each range of sizes and threshold (A sizes of `SIZES`, T of `OVERLAPS`).

    Kept for the M detections that overlap an object enough for any threshold; all others took nothing.
    """

    met: NDArray[np.int64]  # (M,) numbers of detections
    taken: NDArray[np.int64]  # (M, A, T) the object that was taken, FREE for none
    right: NDArray[np.bool_]  # (M, A, T) it counts
    outside: NDArray[np.bool_]  # (D, A) the detection is out of the range
    counted: NDArray[np.bool_]  # (G, A) the object has to be found

    def of(self, size: int, overlap: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(right, counts), both (D,): a detection that counts and is not right is wrong."""
        right, counts = np.zeros(len(self.outside), np.bool_), ~self.outside[:, size]
        took = self.taken[:, size, overlap] != FREE
        right[self.met] = self.right[:, size, overlap]
        counts[self.met] = np.where(took, self.right[:, size, overlap], counts[self.met])
        return right, counts

    def object_of(self, size: int, overlap: int) -> NDArray[np.int64]:
        """(D,) the object that each detection took, one that counts or not; FREE for none."""
        taken = np.full(len(self.outside), FREE, np.int64)
        taken[self.met] = self.taken[:, size, overlap]
        return taken


@dataclass(frozen=True)
class Pairs:
    """P pairs of a detection and an object that overlap."""

    found: NDArray[np.int64]  # (P,)
    object: NDArray[np.int64]  # (P,)
    iou: NDArray[np.float64]  # (P,) over the detection's own area where the object is a crowd


def match(columns: Columns, same_picture: Pairs) -> Matches:
    """The matches at every size and threshold. `same_picture` are pairs of any class, at least all that overlap by the
    lowest threshold."""
    found, objects = columns.found, columns.objects
    same = found.class_id[same_picture.found] == objects.class_id[same_picture.object]
    by_class = _take(same_picture, np.flatnonzero(same & (same_picture.iou >= OVERLAPS[0])))
    counted_GA = ~objects.crowd[:, None] & _within(objects.area)
    order, steps = _in_steps(by_class, found)
    met = np.unique(by_class.found)
    row = np.searchsorted(met, by_class.found)
    taken_MK, right_MK = _choose(_take(by_class, order), row[order], steps, len(met), counted_GA, objects.crowd)
    shape = (len(met), len(SIZES), len(OVERLAPS))
    return Matches(met, taken_MK.reshape(shape), right_MK.reshape(shape), ~_within(found.area), counted_GA)


def overlapping(found: Found, objects: Objects, *, least: float) -> Pairs:
    """The pairs of a picture whose boxes overlap by `least` or more."""
    parts = [_overlaps(found, objects, d, g, least) for d, g in _pairs(found.picture, objects.picture)]
    return Pairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("found", "object", "iou")))


def _pairs(key_D: NDArray[np.int64], key_G: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(detection, object) of every pair of equal keys, in pieces; at least one piece."""
    order = np.argsort(key_G, kind="stable")
    start, stop = (np.searchsorted(key_G[order], key_D, side) for side in ("left", "right"))
    total = np.concatenate([[0], np.cumsum(stop - start)])
    done = 0
    while done < len(key_D) or done == 0:
        end = max(done + 1, int(np.searchsorted(total, total[done] + PAIRS_AT_ONCE, "right")) - 1)
        counts = (stop - start)[done:end]
        d = np.repeat(np.arange(done, done + len(counts)), counts)
        place = np.arange(len(d)) - np.repeat(total[done : done + len(counts)] - total[done], counts)
        yield d, order[start[d] + place]
        done = end


def _overlaps(found: Found, objects: Objects, d: NDArray[np.int64], g: NDArray[np.int64], least: float) -> Pairs:
    a, b = found.box[d], objects.box[g]
    shared = np.prod(np.clip(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0, None), axis=1)
    own = boxes.area(found.box)[d]
    union = np.where(objects.crowd[g], own, own + boxes.area(b) - shared)
    iou = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    kept = iou >= min(least, 1 - 1e-10)
    return Pairs(d[kept], g[kept], iou[kept])


def _take(pairs: Pairs, rows: NDArray[np.int64]) -> Pairs:
    return Pairs(pairs.found[rows], pairs.object[rows], pairs.iou[rows])


def _within(area: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n, A)"""
    return np.asarray((area[:, None] >= AREA_PX2[:, 0]) & (area[:, None] <= AREA_PX2[:, 1]))


def _in_steps(pairs: Pairs, found: Found) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs' order by step, detection, overlap and object, and where each step begins and the last one ends.

    Among a detection's pairs the last is the one it likes most: of equal overlaps COCO takes the later object.
    """
    step = found.rank[pairs.found]
    order = np.lexsort((pairs.object, pairs.iou, pairs.found, step))
    steps = np.flatnonzero(np.diff(step[order], prepend=-1, append=np.iinfo(np.int64).max))
    return order, steps


def _choose(
    pairs: Pairs,
    row: NDArray[np.int64],
    steps: NDArray[np.int64],
    count: int,
    counted_GA: NDArray[np.bool_],
    crowd_G: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(object taken, does it count) of `count` detections, (M, A·T)."""
    threshold_K = np.tile(np.minimum(OVERLAPS, 1 - 1e-10), len(SIZES))
    free_GK = np.ones((len(crowd_G), len(threshold_K)), np.bool_)
    taken_MK = np.full((count, len(threshold_K)), FREE, np.int64)
    right_MK = np.zeros((count, len(threshold_K)), np.bool_)
    for begin, end in pairwise(steps):
        part, size = slice(begin, end), end - begin
        g = pairs.object[part]
        counts_PK = np.repeat(counted_GA[g], len(OVERLAPS), axis=1)
        fits_PK = (pairs.iou[part, None] >= threshold_K) & (free_GK[g] | crowd_G[g, None])
        # The place in the list is the liking; one that counts is liked more than any that doesn't.
        liking_PK = np.where(fits_PK, np.arange(1, size + 1)[:, None] + size * counts_PK, 0)
        first = np.flatnonzero(np.diff(row[part], prepend=-1))
        best_RK = np.maximum.reduceat(liking_PK, first, axis=0)
        took_RK = best_RK > 0
        chosen_RK = g[(best_RK - 1) % size]
        free_GK[chosen_RK[took_RK], np.nonzero(took_RK)[1]] = False
        taken_MK[row[part][first]] = np.where(took_RK, chosen_RK, FREE)
        right_MK[row[part][first]] = best_RK > size
    return taken_MK, right_MK
