"""Masks through a picture's geometry: labels into the network's pixels, and the network's answers back.

A pixel of one side belongs to the mask where its centre, mapped to the other side, does; mirrors, crops and padding are
the geometry's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.vision import rle
from espalier.vision.geometry import Geometry
from espalier.vision.masks import Mask, checked_polygon, filled

Window = tuple[int, int, int, int]
"""left, top, right, bottom in whole pixels, the end exclusive."""


# ---- labels, to the input ----------------------------------------------------------------------------------------


def to_input(segment: Any, geometry: Geometry, *, where: str = "segment") -> Mask:
    """(H, W) of the input: the pixels of a COCO segmentation, none of them in the padding. Raises DataError."""
    height, width = geometry.valid_hw
    mask_HW = np.zeros(geometry.input_hw, np.bool_)
    seen_HW = mask_HW[:height, :width]
    if isinstance(segment, Mapping):
        _look_up(segment, geometry, seen_HW, where)
    else:
        seen_HW[:] = _filled_in(segment, geometry, where)
    return mask_HW


def _filled_in(polygons: Any, geometry: Geometry, where: str) -> Mask:
    flats = [checked_polygon(polygon, geometry.source_hw, where) for polygon in polygons]
    moved = [geometry.to_input(np.reshape(flat, (-1, 2))).reshape(-1).tolist() for flat in flats]
    return filled(moved, geometry.valid_hw)


def _look_up(mask: Mapping[str, Any], geometry: Geometry, seen_HW: Mask, where: str) -> None:
    """Only what lies around the mask is looked at: an object is small, a picture large."""
    spans, size_hw = rle.spans_of(mask, where=where), (int(mask["size"][0]), int(mask["size"][1]))
    left, top, right, bottom = rle.extent(spans, size_hw[0])
    column_W, row_H = (
        np.floor((np.arange(count) + 0.5 - offset) / scale).astype(np.int64)
        for count, offset, scale in zip(seen_HW.shape[::-1], geometry.offset_xy, geometry.scale_xy, strict=True)
    )
    rows, columns = (
        np.flatnonzero((place >= low) & (place < high))
        for place, low, high in ((row_H, top, bottom), (column_W, left, right))
    )
    seen_HW[np.ix_(rows, columns)] = rle.looked_up(spans, size_hw[0], row_H[rows], column_W[columns])


# ---- answers, to the source ----------------------------------------------------------------------------------------


def to_source(
    logits_hw: NDArray[np.floating[Any]], window: Window, cell_xy: tuple[int, int], step_xy: tuple[float, float],
    geometry: Geometry,
) -> dict[str, Any]:  # fmt: skip
    """The RLE, in source pixels and within `window`, of where a map of logits is above 0.

    The map's cell (0, 0) is the input's cell `cell_xy`, cells are `step_xy` input pixels wide and high, and between the
    middles of cells logits are bilinear (beyond the outermost as there). Nothing of the window's size is ever made:
    along a column of source pixels a bilinear map is a line from cell to cell, whose zeros are the ends of the runs.
    """
    left, top, right, bottom = window
    x_C, y_R = (
        ((np.arange(low, high) + 0.5) * scale + offset) / step - 0.5 - first
        for low, high, scale, offset, step, first in zip(
            (left, top), (right, bottom), geometry.scale_xy, geometry.offset_xy, step_xy, cell_xy, strict=True
        )
    )
    if geometry.scale_xy[1] < 0:  # upside down: walked the other way
        logits_hw, y_R = logits_hw[::-1], logits_hw.shape[0] - 1 - y_R
    start, stop = _spans(_along_columns(logits_hw, x_C), y_R)
    column_start, column_stop = (left + start[0]) * geometry.source_hw[0], (left + stop[0]) * geometry.source_hw[0]
    return rle.from_spans((column_start + top + start[1], column_stop + top + stop[1]), geometry.source_hw)


def _along_columns(logits_hw: NDArray[np.floating[Any]], x_C: NDArray[np.float64]) -> NDArray[np.float64]:
    """(C, h) the map at these places across, every cell's row down."""
    width = logits_hw.shape[1]
    place = np.clip(x_C, 0, width - 1)
    before = np.minimum(place.astype(np.int64), max(width - 2, 0))
    share = (place - before)[:, None]
    turned_wh = logits_hw.T.astype(np.float64)
    return np.asarray(turned_wh[before] * (1 - share) + turned_wh[np.minimum(before + 1, width - 1)] * share)


Places = tuple[NDArray[np.int64], NDArray[np.int64]]
"""(column, row) each."""


def _spans(value_Ch: NDArray[np.float64], y_R: NDArray[np.float64]) -> tuple[Places, Places]:
    """Where the rows above 0 begin and end in each column; `y_R`, rising, is each row's place among the h values."""
    inside = np.pad((value_Ch > 0).astype(np.int8), ((0, 0), (1, 1)))
    change = np.diff(inside, axis=1)
    (begin_column, begin), (end_column, end) = (np.nonzero(change == sign) for sign in (1, -1))
    return (
        (begin_column, _row_after(value_Ch, begin_column, begin, y_R, side="right")),
        (end_column, _row_after(value_Ch, end_column, end, y_R, side="left")),
    )


def _row_after(
    value_Ch: NDArray[np.float64],
    column: NDArray[np.int64],
    knot: NDArray[np.int64],
    y_R: NDArray[np.float64],
    *,
    side: Any,
) -> NDArray[np.int64]:
    """The first row after the zero between a knot and the one before it; a zero itself is outside the mask."""
    last = value_Ch.shape[1]
    between = (knot > 0) & (knot < last)
    before, after = (value_Ch[column, np.clip(place, 0, last - 1)] for place in (knot - 1, knot))
    zero = np.divide(before, before - after, out=np.zeros(len(knot)), where=between) + knot - 1
    row = np.searchsorted(y_R, zero, side=side)
    return np.where(between, row, np.where(knot == 0, 0, len(y_R)))
