"""How often each class was said of each class in one picture, and how well the classes' rims lie: numbers alone.

Rims are Cheng et al.'s (Boundary IoU, 2021): of each class the pixels no further than d from a pixel that is not of it,
or from the picture's edge; d is 2 % of the diagonal. Every pixel has one class, so all rims are found at once: a pixel
lies on its class's rim where the square of 2d + 1 around it holds two classes. Pixels of which nothing is known are of
no class: they count nowhere, and no rim runs along them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.vision.class_maps import ClassMap, ignored

RIM_SHARE = 0.02  # of the picture's diagonal
_EXACT = 1 << 24  # float32 counts whole numbers up to here
_BY_HISTOGRAM = 64  # classes: for more OpenCV's histograms are larger than what they count
SIDES = 3  # sums of a class beside the confusion: pixels of the truth's rim, of the answer's, of both


def width(classes: int) -> int:
    """How many numbers a picture gives: C × C confusions, row by row of the truth, then C of each of `SIDES`."""
    return classes * classes + SIDES * classes


class Counter:
    """Counts picture after picture; what it works in is kept from one to the next, as new memory is what costs most."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._held: dict[str, NDArray[Any]] = {}

    def __call__(self, said_HW: ClassMap, truth_HW: ClassMap) -> NDArray[np.int64]:
        """(`width`,) of one picture. Raises ValueError for maps of different sizes."""
        if said_HW.shape != truth_HW.shape:
            raise ValueError(f"maps of {said_HW.shape} and {truth_HW.shape} pixels can't be compared")
        joint_TPR = self._joint(truth_HW, said_HW)
        confusion_TP = joint_TPR.sum(axis=2)
        both_C = np.diagonal(joint_TPR[:, :, 3])
        truth_C = (joint_TPR[:, :, 1] + joint_TPR[:, :, 3]).sum(axis=1)
        said_C = (joint_TPR[:, :, 2] + joint_TPR[:, :, 3]).sum(axis=0)
        return np.concatenate([confusion_TP.ravel(), truth_C, said_C, both_C])

    def _room(self, name: str, like: NDArray[Any], dtype: Any = None) -> NDArray[Any]:
        """An array of that shape with anything in it, the one of last time if it fits."""
        wanted = np.dtype(like.dtype if dtype is None else dtype)
        held = self._held.get(name)
        if held is None or held.shape != like.shape or held.dtype != wanted:
            held = self._held[name] = np.empty(like.shape, wanted)
        return held

    def _joint(self, truth_HW: ClassMap, said_HW: ClassMap) -> NDArray[np.int64]:
        """(C, C, 4) pixels that are of a class, said to be of a class, and on neither rim, the truth's, the answer's,
        both. Unknown pixels, and ids beyond the classes, count nowhere."""
        known_HW = np.not_equal(truth_HW, ignored(truth_HW.dtype), out=self._room("known", truth_HW, np.bool_))
        rim_HW = self._rims(truth_HW, known_HW, "truth")
        said_rim_HW = self._rims(said_HW, known_HW, "said")
        np.left_shift(said_rim_HW, 1, out=said_rim_HW)
        np.bitwise_or(rim_HW, said_rim_HW, out=rim_HW)
        return _joint(truth_HW, said_HW, rim_HW, known_HW, self.classes)

    def _rims(self, class_HW: ClassMap, known_HW: NDArray[np.bool_], name: str) -> NDArray[np.uint8]:
        """(H, W) 1 on the rims of all classes."""
        rim_HW = self._room(name, class_HW, np.bool_)
        reach = rim_px(class_HW.shape)
        rim_HW[...] = True
        inner_HW = rim_HW[reach:-reach, reach:-reach]
        if inner_HW.size:
            ones_HW = self._room("ones", class_HW)
            np.copyto(ones_HW, known_HW)
            np.negative(ones_HW, out=ones_HW)
            part_HW = np.bitwise_and(class_HW, ones_HW, out=self._room("part", class_HW))  # 0 where nothing is known
            high_HW = self._extreme(np.maximum, part_HW, reach, "high")
            np.invert(ones_HW, out=ones_HW)
            np.bitwise_or(class_HW, ones_HW, out=part_HW)  # the highest value where nothing is known
            low_HW = self._extreme(np.minimum, part_HW, reach, "low")
            np.not_equal(high_HW, low_HW, out=inner_HW)
        return rim_HW.view(np.uint8)

    def _extreme(self, extreme: np.ufunc, class_HW: NDArray[Any], reach: int, name: str) -> NDArray[Any]:
        """(H - 2 reach, W - 2 reach) the highest or lowest value of the squares that lie inside the map.

        Stretches are doubled until they are as long as a square's side, first along rows, then along columns, all on
        the flat array: those that run over the end of a row are of no square inside.
        """
        height, width = class_HW.shape
        one, other = self._room(name, class_HW).reshape(-1), self._room(f"{name} turned", class_HW).reshape(-1)
        found = np.ascontiguousarray(class_HW).reshape(-1)
        for step in (1, width):
            length, side = 1, 2 * reach + 1
            while length < side:
                further = min(length, side - length)
                left = len(found) - further * step
                found = extreme(found[:left], found[further * step :], out=one[:left])
                one, other = other, one
                length += further
        rows = height - 2 * reach
        return _rows_of(found, rows, width, width - 2 * reach)


def _rows_of(flat: NDArray[Any], rows: int, width: int, kept: int) -> NDArray[Any]:
    """(rows, kept) the beginnings of rows of that width; the last one may be no longer than that."""
    return np.lib.stride_tricks.as_strided(flat, (rows, kept), (width * flat.itemsize, flat.itemsize), writeable=False)


def _joint(
    truth_HW: ClassMap, said_HW: ClassMap, rim_HW: NDArray[np.uint8], known_HW: NDArray[np.bool_], classes: int
) -> NDArray[np.int64]:
    """(C, C, 4) as `Counter` needs it, by the quicker way."""
    if classes > _BY_HISTOGRAM or truth_HW.dtype != np.uint8 or said_HW.dtype != np.uint8:
        kept = (known_HW & (truth_HW < classes) & (said_HW < classes)).ravel()
        truth_N, said_N, rim_N = (each.ravel()[kept].astype(np.int64) for each in (truth_HW, said_HW, rim_HW))
        code_N = (truth_N * classes + said_N) * 4 + rim_N
        return np.bincount(code_N, minlength=4 * classes * classes).reshape(classes, classes, 4)
    found = np.zeros((classes, classes, 4), np.int64)
    step = max(1, _EXACT // truth_HW.shape[1])
    for top in range(0, truth_HW.shape[0], step):
        found += _histogram([each[top : top + step] for each in (truth_HW, said_HW, rim_HW)], classes)
    return found


def _histogram(parts: list[NDArray[Any]], classes: int) -> NDArray[np.int64]:
    import cv2

    bounds = [0, classes, 0, classes, 0, 4]
    counts = cv2.calcHist([np.ascontiguousarray(p) for p in parts], [0, 1, 2], None, [classes, classes, 4], bounds)
    return np.asarray(counts).astype(np.int64)


def rim_px(size_hw: tuple[int, ...]) -> int:
    """How wide a rim is: 2 % of the diagonal, one pixel at least."""
    return max(1, round(RIM_SHARE * math.hypot(*size_hw[:2])))
