"""Box maths. Boxes are xyxy, pixel edges at integers, the end exclusive, so that width = x2 - x1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[Any]  # (N, 4)


def area(box_N4: Boxes) -> NDArray[np.float64]:
    """Area of each box in px²; 0 for one whose end comes before its start."""
    wh_N2 = np.clip(np.asarray(box_N4, np.float64)[:, 2:] - box_N4[:, :2], 0, None)
    return np.asarray(wh_N2[:, 0] * wh_N2[:, 1])


def intersection(a_N4: Boxes, b_M4: Boxes) -> NDArray[np.float64]:
    """Area (N, M) that each pair of boxes shares."""
    a, b = np.asarray(a_N4, np.float64)[:, None], np.asarray(b_M4, np.float64)[None]
    wh_NM2 = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    return np.asarray(wh_NM2[..., 0] * wh_NM2[..., 1])


def iou(a_N4: Boxes, b_M4: Boxes, *, crowd_M: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Intersection over union (N, M); 0 for two boxes without area.

    Where `crowd_M` is set the divisor is the area of `a` alone, COCO's rule for crowds.
    """
    shared_NM = intersection(a_N4, b_M4)
    own_N1 = area(a_N4)[:, None]
    union_NM = own_N1 + area(b_M4)[None] - shared_NM
    if crowd_M is not None:
        union_NM = np.where(crowd_M[None], own_N1, union_NM)
    return np.divide(shared_NM, union_NM, out=np.zeros_like(shared_NM), where=union_NM > 0)


def without_doubles(
    box_N4: Boxes, class_N: NDArray[np.integer[Any]], overlap: float, *, most: int | None = None
) -> NDArray[np.int64]:
    """The rows, `most` at most, that no row of their class before them overlaps by more than `overlap` in IoU.

    The surest boxes come first (greedy non-maximum suppression).
    """
    x0_N, y0_N, x1_N, y1_N = np.ascontiguousarray(np.asarray(box_N4, np.float64).T)
    area_N = area(box_N4)
    alive_N = np.ones(len(box_N4), bool)
    kept: list[int] = []
    while alive_N.any() and (most is None or len(kept) < most):
        best = int(alive_N.argmax())
        kept.append(best)
        alive_N[best] = False
        rest = slice(best + 1, None)
        width_R = np.minimum(x1_N[best], x1_N[rest]) - np.maximum(x0_N[best], x0_N[rest])
        height_R = np.minimum(y1_N[best], y1_N[rest]) - np.maximum(y0_N[best], y0_N[rest])
        shared_R = np.maximum(width_R, 0) * np.maximum(height_R, 0)
        double_R = shared_R > overlap * (area_N[best] + area_N[rest] - shared_R)
        alive_N[rest] &= ~(double_R & (class_N[rest] == class_N[best]))
    return np.array(kept, np.int64)


def clip(box_N4: Boxes, size_hw: tuple[int, int]) -> NDArray[np.float64]:
    """The part of each box that lies inside a picture of `size_hw`; without area when none does."""
    height, width = size_hw
    return np.clip(np.asarray(box_N4, np.float64), 0, (width, height, width, height))


def xyxy_from_xywh(box_N4: Boxes) -> NDArray[np.float64]:
    """From COCO's (left, top, width, height)."""
    box_N4 = np.asarray(box_N4, np.float64)
    return np.concatenate([box_N4[:, :2], box_N4[:, :2] + box_N4[:, 2:]], axis=1)


def xywh_from_xyxy(box_N4: Boxes) -> NDArray[np.float64]:
    """To COCO's (left, top, width, height)."""
    box_N4 = np.asarray(box_N4, np.float64)
    return np.concatenate([box_N4[:, :2], box_N4[:, 2:] - box_N4[:, :2]], axis=1)


def xyxy_from_cxcywh(box_N4: Boxes) -> NDArray[np.float64]:
    """From (centre x, centre y, width, height), YOLO's and DETR's form."""
    centre_N2, half_N2 = np.asarray(box_N4, np.float64)[:, :2], np.asarray(box_N4, np.float64)[:, 2:] / 2
    return np.concatenate([centre_N2 - half_N2, centre_N2 + half_N2], axis=1)


def cxcywh_from_xyxy(box_N4: Boxes) -> NDArray[np.float64]:
    """To (centre x, centre y, width, height)."""
    start_N2, end_N2 = np.asarray(box_N4, np.float64)[:, :2], np.asarray(box_N4, np.float64)[:, 2:]
    return np.concatenate([(start_N2 + end_N2) / 2, end_N2 - start_N2], axis=1)
