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


def count(said_HW: ClassMap, truth_HW: ClassMap, classes: int) -> NDArray[np.int64]:
    """(`width`,) of one picture. Raises ValueError for maps of different sizes."""
    if said_HW.shape != truth_HW.shape:
        raise ValueError(f"maps of {said_HW.shape} and {truth_HW.shape} pixels can't be compared")
    nothing = ignored(truth_HW.dtype)
    known_HW = truth_HW != nothing
    is_whole = bool(known_HW.all())
    truth_rim_HW, said_rim_HW = (_rims(each, None if is_whole else known_HW) for each in (truth_HW, said_HW))
    rim_HW = truth_rim_HW | (said_rim_HW << np.uint8(1))
    joint_TPR = _joint(truth_HW, said_HW, rim_HW, known_HW, classes)
    confusion_TP = joint_TPR.sum(axis=2)
    both_C = np.diagonal(joint_TPR[:, :, 3])
    truth_C = (joint_TPR[:, :, 1] + joint_TPR[:, :, 3]).sum(axis=1)
    said_C = (joint_TPR[:, :, 2] + joint_TPR[:, :, 3]).sum(axis=0)
    return np.concatenate([confusion_TP.ravel(), truth_C, said_C, both_C])


def _joint(
    truth_HW: ClassMap, said_HW: ClassMap, rim_HW: NDArray[np.uint8], known_HW: NDArray[np.bool_], classes: int
) -> NDArray[np.int64]:
    """(C, C, 4) pixels that are of a class, said to be of a class, and on neither rim, the truth's, the answer's, both.

    Ids beyond the classes, as of pixels of which nothing is known, count nowhere.
    """
    if classes > _BY_HISTOGRAM or truth_HW.dtype != np.uint8 or said_HW.dtype != np.uint8:
        kept = known_HW.ravel()
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


def _rims(class_HW: ClassMap, known_HW: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """(H, W) 1 on the rims of all classes."""
    import cv2

    reach = rim_px(class_HW.shape)
    square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    nothing = class_HW.dtype.type(ignored(class_HW.dtype))
    low_HW = class_HW if known_HW is None else np.where(known_HW, class_HW, nothing)
    high_HW = class_HW if known_HW is None else np.where(known_HW, class_HW, class_HW.dtype.type(0))
    rim_HW = np.asarray(cv2.dilate(high_HW, square) != cv2.erode(low_HW, square), np.uint8)
    rim_HW[:reach], rim_HW[-reach:] = 1, 1
    rim_HW[:, :reach], rim_HW[:, -reach:] = 1, 1
    return rim_HW
