"""How often each class was said of each class in one picture, and how well the classes' rims lie: numbers alone.

Rims are Cheng et al.'s (Boundary IoU, 2021): of each class the pixels no further than d from a pixel that is not of it,
or from the picture's edge; d is 2 % of the diagonal. Pixels of which nothing is known are of no class: they count
nowhere, and no rim runs along them (`rims`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.segmentation.rims import Room, code_table, coded, rims
from espalier.vision.class_maps import ClassMap

RIM_SHARE = 0.02  # of the picture's diagonal
_PIXELS_AT_ONCE = 1 << 25  # of a larger picture bands are counted one by one
_COUNTED_AT_ONCE = 1 << 20  # float32 counts whole numbers up to 1 << 24
_BY_HISTOGRAM = 62  # classes: (class said, class, rim) of more don't fit into 16 bit
SIDES = 3  # sums of a class beside the confusion: pixels of the truth's rim, of the answer's, of both


def width(classes: int) -> int:
    """How many numbers a picture gives: C × C confusions, row by row of the truth, then C of each of `SIDES`."""
    return classes * classes + SIDES * classes


class Counter:
    """Counts picture after picture."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._room = Room()
        self._tables: dict[np.dtype[np.unsignedinteger], NDArray[np.unsignedinteger]] = {}

    def __call__(self, said_HW: ClassMap, truth_HW: ClassMap) -> NDArray[np.int64]:
        """(`width`,) of one picture. Raises ValueError for maps of different sizes."""
        if said_HW.shape != truth_HW.shape:
            raise ValueError(f"maps of {said_HW.shape} and {truth_HW.shape} pixels can't be compared")
        reach, height = rim_px(truth_HW.shape), truth_HW.shape[0]
        joint_TPR = np.zeros((self.classes, self.classes, 4), np.int64)
        step = max(2 * reach, _PIXELS_AT_ONCE // max(1, truth_HW.shape[1]))
        for top in range(0, height, step):  # with as many rows around as a rim sees
            seen = slice(max(0, top - reach), top + step + reach)
            counted = slice(top - seen.start, top - seen.start + min(step, height - top))
            joint_TPR += self._joint(truth_HW[seen], said_HW[seen], counted, reach)
        confusion_TP = joint_TPR.sum(axis=2)
        both_C = np.diagonal(joint_TPR[:, :, 3])
        truth_C = (joint_TPR[:, :, 1] + joint_TPR[:, :, 3]).sum(axis=1)
        said_C = (joint_TPR[:, :, 2] + joint_TPR[:, :, 3]).sum(axis=0)
        return np.concatenate([confusion_TP.ravel(), truth_C, said_C, both_C])

    def _joint(self, truth_HW: ClassMap, said_HW: ClassMap, rows: slice, reach: int) -> NDArray[np.int64]:
        """(C, C, 4) pixels that are of a class, said to be of a class, and on neither rim, the truth's, the answer's,
        both; of these rows alone. Unknown pixels, and ids beyond the classes, count nowhere."""
        rim_HW, said_rim_HW = (self._room(name, truth_HW.shape, np.bool_) for name in ("truth's rim", "answer's rim"))
        code_HW = self._coded(truth_HW)
        known_HW = np.not_equal(code_HW, 0, out=said_rim_HW)  # which is written when that is read
        rims(code_HW, reach, self._room, rim_HW)
        code_HW = self._coded(said_HW)
        np.multiply(code_HW, known_HW.view(np.uint8), out=code_HW)
        rims(code_HW, reach, self._room, said_rim_HW)
        both_HW = np.multiply(said_rim_HW.view(np.uint8), 2, out=said_rim_HW.view(np.uint8))
        np.bitwise_or(both_HW, rim_HW.view(np.uint8), out=both_HW)
        return self._counted(truth_HW[rows], said_HW[rows], both_HW[rows])

    def _coded(self, class_HW: ClassMap) -> NDArray[np.unsignedinteger]:
        table_V = self._tables.get(class_HW.dtype)
        if table_V is None:
            values = int(np.iinfo(class_HW.dtype).max) + 1
            table_V = self._tables[class_HW.dtype] = code_table(self.classes, values)
        return coded(class_HW, table_V, self._room("code", class_HW.shape, table_V.dtype))

    def _counted(self, truth_HW: ClassMap, said_HW: ClassMap, rim_HW: NDArray[np.uint8]) -> NDArray[np.int64]:
        """(C, C, 4) as `_joint` has it, some rows at a time, by the quicker way."""
        found = np.zeros((self.classes, self.classes, 4), np.int64)
        is_small = self.classes <= _BY_HISTOGRAM and truth_HW.dtype == said_HW.dtype == np.uint8
        step = max(1, _COUNTED_AT_ONCE // max(1, truth_HW.shape[1]))
        for top in range(0, truth_HW.shape[0], step):
            rows = slice(top, top + step)
            counted = self._by_histogram if is_small else self._by_numbers
            found += counted(truth_HW[rows], said_HW[rows], rim_HW[rows])
        return found

    def _by_histogram(self, truth_HW: ClassMap, said_HW: ClassMap, rim_HW: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The three in one number of 16 bit; unknown pixels are above those that count."""
        import cv2

        classes, columns = self.classes, self.classes + 1
        if said_HW.max(initial=0) >= classes:
            said_HW = np.minimum(said_HW, classes)  # no class: the last column
        low_HW = np.multiply(said_HW, 4, out=self._room("low", said_HW.shape, np.uint8))
        np.bitwise_or(low_HW, rim_HW, out=low_HW)
        joint_HW = self._room("joint", said_HW.shape, np.uint16)
        np.multiply(truth_HW, np.uint16(4 * columns), out=joint_HW, dtype=np.uint16)
        np.add(joint_HW, low_HW, out=joint_HW)
        bins = 4 * columns * classes
        count = cv2.calcHist([joint_HW], [0], None, [bins], [0, bins])
        return np.asarray(count).astype(np.int64).reshape(classes, columns, 4)[:, :classes]

    def _by_numbers(self, truth_HW: ClassMap, said_HW: ClassMap, rim_HW: NDArray[np.uint8]) -> NDArray[np.int64]:
        kept = ((truth_HW < self.classes) & (said_HW < self.classes)).ravel()
        truth_N, said_N, rim_N = (each.ravel()[kept].astype(np.int64) for each in (truth_HW, said_HW, rim_HW))
        shape = (self.classes, self.classes, 4)
        return np.bincount((truth_N * self.classes + said_N) * 4 + rim_N, minlength=math.prod(shape)).reshape(shape)


def rim_px(size_hw: tuple[int, ...]) -> int:
    """How wide a rim is: 2 % of the diagonal, one pixel at least."""
    return max(1, round(RIM_SHARE * math.hypot(*size_hw[:2])))
