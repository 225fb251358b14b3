"""Run lengths handled without the whole mask: made from spans, cut out, looked up. COCO's form, down the columns.

A span is a stretch of pixels inside the mask, numbered down the columns: `start` is its first, `stop` comes after its
last. Spans are in order and never touch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.vision.masks import Mask, mask_to_polygons, packed, runs_of

MOST_OUTLINED_PX = 1 << 26
_PIXELS_AT_ONCE = 1 << 22
Spans = tuple[NDArray[np.int64], NDArray[np.int64]]


def spans_of(rle: Mapping[str, Any], *, where: str = "rle") -> Spans:
    """(start, stop) of the mask's spans. Raises DataError for runs that don't add up."""
    bounds = np.concatenate([[0], np.cumsum(runs_of(rle, where=where)[0])])
    start, stop = bounds[1:-1:2], bounds[2::2]
    return _joined(start, stop[: len(start)])


def from_spans(spans: Spans, size_hw: tuple[int, int], *, compressed: bool = True) -> dict[str, Any]:
    """The RLE object of these spans; they may be empty, and may touch."""
    start, stop = _joined(*spans)
    bounds = np.concatenate([[0], np.stack([start, stop], axis=1).reshape(-1), [size_hw[0] * size_hw[1]]])
    runs = np.diff(bounds)
    runs = runs[:-1] if len(runs) > 1 and runs[-1] == 0 else runs
    counts: Any = packed(runs) if compressed else runs.tolist()
    return {"size": [int(size_hw[0]), int(size_hw[1])], "counts": counts}


def _joined(start: NDArray[np.int64], stop: NDArray[np.int64]) -> Spans:
    """Without empty spans, and with those made one that touch: a column full to its foot, and the next from its head.

    Spans are in order; an empty one may lie between two that touch.
    """
    filled = stop > start
    start, stop = start[filled], stop[filled]
    apart = start[1:] != stop[:-1]
    return start[np.append(True, apart)[: len(start)]], stop[np.append(apart, True)[: len(stop)]]


def placed(
    mask_HW: NDArray[np.bool_], left: int, top: int, size_hw: tuple[int, int], *, compressed: bool = True
) -> dict[str, Any]:
    """The RLE of a picture in which the mask lies at (left, top); little memory is used beside the mask's own."""
    starts, stops = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    step = max(1, _PIXELS_AT_ONCE // max(1, mask_HW.shape[0]))
    for first in range(0, mask_HW.shape[1], step):
        block = mask_HW[:, first : first + step].T.astype(np.int8)
        edges = np.diff(np.pad(block, ((0, 0), (1, 1))), axis=1)  # down the columns
        for found, value in ((starts, 1), (stops, -1)):
            column, row = np.nonzero(edges == value)
            found.append((column + first + left) * size_hw[0] + row + top)
    return from_spans((np.concatenate(starts), np.concatenate(stops)), size_hw, compressed=compressed)


def extent(spans: Spans, height: int) -> tuple[int, int, int, int]:
    """The tightest box (left, top, right, bottom) around spans in columns of that height; zeros without any."""
    start, stop = spans
    if not len(start):
        return 0, 0, 0, 0
    left, right = int(start[0]) // height, int(stop[-1] - 1) // height + 1
    if (start // height != (stop - 1) // height).any():  # one that goes on in the next column reaches both ends
        return left, 0, right, height
    return left, int((start % height).min()), right, int(((stop - 1) % height).max()) + 1


def cut_out(rle: Mapping[str, Any], *, where: str = "rle") -> tuple[Mask, int, int]:
    """(the mask's own box of pixels, left, top): never more memory than that box. Raises DataError."""
    spans, height = spans_of(rle, where=where), int(rle["size"][0])
    left, top, right, bottom = extent(spans, height)
    start, last = spans[0], spans[1] - 1
    place, end = ((pixel // height - left) * (bottom - top) + pixel % height - top for pixel in (start, last))
    change = np.zeros((right - left) * (bottom - top) + 1, np.int8)
    change[place] += 1
    change[end + 1] -= 1
    inside = np.cumsum(change[:-1], dtype=np.int8).astype(np.bool_)
    return np.ascontiguousarray(inside.reshape(right - left, bottom - top).T), left, top


def united(parts: Sequence[tuple[Mapping[str, Any], int, int]], size_hw: tuple[int, int]) -> dict[str, Any]:
    """The RLE of a picture of that size of masks whose own pictures lie in it at (left, top) each."""
    cut = [(part_HW, x + left, y + top) for mask, left, top in parts for part_HW, x, y in (cut_out(mask),)]
    cut = [one for one in cut if one[0].size]
    if not cut:
        return from_spans((np.zeros(0, np.int64), np.zeros(0, np.int64)), size_hw)
    left, top = min(x for _, x, _ in cut), min(y for _, _, y in cut)
    right, bottom = max(x + part.shape[1] for part, x, _ in cut), max(y + part.shape[0] for part, _, y in cut)
    whole_HW = np.zeros((bottom - top, right - left), np.bool_)
    for part_HW, x, y in cut:
        whole_HW[y - top : y - top + part_HW.shape[0], x - left : x - left + part_HW.shape[1]] |= part_HW
    return placed(whole_HW, left, top, size_hw)


def polygons(rle: Mapping[str, Any], *, where: str = "rle") -> list[list[float]]:
    """The outer outlines of the mask, as `mask_to_polygons` gives them; those of a region in a box of more than
    `MOST_OUTLINED_PX` are cut along rows, since their search takes many times the box. Raises DataError."""
    part_HW, left, top = cut_out(rle, where=where)
    found: list[list[float]] = []
    rows = max(1, MOST_OUTLINED_PX // max(1, part_HW.shape[1]))
    for first in range(0, part_HW.shape[0], rows):
        start_xy = np.array([left, top + first])
        outlines = mask_to_polygons(part_HW[first : first + rows])
        found += [(np.reshape(flat, (-1, 2)) + start_xy).reshape(-1).tolist() for flat in outlines]
    return found


def looked_up(spans: Spans, height: int, row_R: NDArray[np.int64], column_C: NDArray[np.int64]) -> Mask:
    """(R, C) whether the mask holds the pixels at these rows and columns, in columns of that height."""
    start, stop = spans
    if not len(start):
        return np.zeros((len(row_R), len(column_C)), np.bool_)
    place_CR = column_C[:, None] * height + row_R[None]
    span_CR = np.searchsorted(start, place_CR, side="right") - 1
    inside_CR = (span_CR >= 0) & (place_CR < stop[np.maximum(span_CR, 0)])
    return np.ascontiguousarray(inside_CR.T)
