"""Class maps: a picture in which every pixel is a class id, and how they pass through a picture's geometry.

A map is uint8 for up to 255 classes and uint16 above; its highest value is no class: nothing is known of that pixel.
A pixel of one side is of the class of the pixel on the other side that its centre lies in.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.vision.geometry import Geometry

ClassMap = NDArray[np.unsignedinteger[Any]]  # (H, W)
MOST_CLASSES = 65_535
_VALUES_AT_ONCE = 1 << 22


def dtype_of(classes: int) -> np.dtype[Any]:
    """What a map of so many classes is made of."""
    return np.dtype(np.uint8 if classes <= 255 else np.uint16)


def ignored(dtype: np.dtype[Any]) -> int:
    """The value of pixels of which nothing is known."""
    return int(np.iinfo(dtype).max)


def counted(values: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.int64]:
    """(K,) how many pixels have each value, up to the highest there is. (numpy counts a copy of 8 bytes a value.)"""
    flat = values.reshape(-1)
    parts = [np.bincount(flat[first : first + _VALUES_AT_ONCE]) for first in range(0, flat.size, _VALUES_AT_ONCE)]
    count_K = np.zeros(max((len(part) for part in parts), default=0), np.int64)
    for part in parts:
        count_K[: len(part)] += part
    return count_K


def to_source(class_HW: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    """(H, W) of the source by a map of the input. What the input does not show has its nearest pixel's class."""
    places = _places(geometry)
    row_H, column_W = (
        np.clip(np.floor(place).astype(np.int64), 0, max(shown - 1, 0))
        for place, shown in zip(places, geometry.valid_hw, strict=True)
    )
    return np.ascontiguousarray(_taken(class_HW, row_H, column_W))


def to_input(class_HW: NDArray[Any], geometry: Geometry, *, outside: int) -> NDArray[Any]:
    """(H, W) of the input by a map of the source; padding, and what lies beyond the source, is `outside`."""
    found_HW = np.full(geometry.input_hw, outside, class_HW.dtype)
    rows, columns = (
        _inside(_middles(shown), offset, scale, side)
        for shown, offset, scale, side in zip(
            geometry.valid_hw, geometry.offset_xy[::-1], geometry.scale_xy[::-1], geometry.source_hw, strict=True
        )
    )
    if len(rows[0]) and len(columns[0]):
        seen = found_HW[rows[0][0] : rows[0][-1] + 1, columns[0][0] : columns[0][-1] + 1]
        seen[:] = _taken(class_HW, rows[1], columns[1])
    return found_HW


def exact(logits_Chw: NDArray[np.floating[Any]], geometry: Geometry) -> ClassMap:
    """(H, W) of the source: the class whose logit is highest, bilinear between the middles of the map's cells.

    The cells share the whole input, its padding included; beyond the outermost middles logits are as there.
    """
    (row_H, row_share_H), (column_W, column_share_W) = (
        _between(place * count / side, count)
        for place, count, side in zip(_places(geometry), logits_Chw.shape[1:], geometry.input_hw, strict=True)
    )
    height, width = geometry.source_hw
    found_HW = np.empty((height, width), dtype_of(logits_Chw.shape[0]))
    step = max(1, _VALUES_AT_ONCE // max(1, logits_Chw.shape[0] * width))
    for top in range(0, height, step):
        rows = slice(top, top + step)
        down = _mixed(logits_Chw, row_H[rows], row_share_H[rows].astype(np.float32)[:, None], 1)
        found_HW[rows] = _mixed(down, column_W, column_share_W.astype(np.float32), 2).argmax(axis=0)
    return found_HW


def cells_shown(cells_hw: tuple[int, ...], geometry: Geometry) -> tuple[int, int]:
    """Rows and columns of a coarse map of the input that show the picture, not its padding; one at least."""
    height, width = (
        max(1, round(count * shown / side))
        for count, shown, side in zip(cells_hw, geometry.valid_hw, geometry.input_hw, strict=True)
    )
    return height, width


def _places(geometry: Geometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the middles of the source's rows and columns lie in the input."""
    height, width = geometry.source_hw
    (scale_x, scale_y), (offset_x, offset_y) = geometry.scale_xy, geometry.offset_xy
    return _middles(height) * scale_y + offset_y, _middles(width) * scale_x + offset_x


def _middles(count: int) -> NDArray[np.float64]:
    return np.arange(count, dtype=np.float64) + 0.5


def _inside(
    middle_N: NDArray[np.float64], offset: float, scale: float, side: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(which of the input's pixels along an axis lie in the source, the source's pixel of each)."""
    place_N = np.floor((middle_N - offset) / scale).astype(np.int64)
    there = np.flatnonzero((place_N >= 0) & (place_N < side))
    return there, place_N[there]


def _taken(class_HW: NDArray[Any], row_R: NDArray[np.int64], column_C: NDArray[np.int64]) -> NDArray[Any]:
    """Those rows and columns, which are often simply all of them or a stretch."""
    for axis, places in ((0, row_R), (1, column_C)):
        if len(places) and np.array_equal(places, np.arange(places[0], places[0] + len(places))):
            stretch = slice(int(places[0]), int(places[0]) + len(places))
            class_HW = class_HW[stretch] if axis == 0 else class_HW[:, stretch]
        else:
            class_HW = class_HW.take(places, axis=axis)
    return class_HW


def _between(place_N: NDArray[np.float64], count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(the cell before each place, how far it is on the way to the next)."""
    middle_N = np.clip(place_N - 0.5, 0, count - 1)
    before_N = np.minimum(middle_N.astype(np.int64), max(count - 2, 0))
    return before_N, middle_N - before_N


def _mixed(
    values: NDArray[Any], before_N: NDArray[np.int64], share: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    after_N = np.minimum(before_N + 1, values.shape[axis] - 1)
    first = values.take(before_N, axis=axis)
    return np.asarray(first + (values.take(after_N, axis=axis) - first) * share, np.float32)
