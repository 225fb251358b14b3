"""Outlines on their way from one written form to another: JSON text, polygons, one polygon, a box."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.data.index import Index
from espalier.errors import DataError, Problem
from espalier.vision import rle
from espalier.vision.masks import runs_of

Polygons = list[list[float]]


def segment_of(index: Index, annotation: int) -> Any:
    """The outline of an annotation: COCO's polygons, its RLE, or None. Raises DataError that names the annotation."""
    try:
        segment = index.segments[annotation]
        if isinstance(segment, dict):
            runs_of(segment)
        return segment
    except DataError as error:
        first = error.problems[0]
        what = f"the outline can't be used: {first.what}"
        raise DataError(Problem(index.where(annotation), what, first.expected)) from error


def as_text(segment: Any) -> bytes:
    """COCO's polygons or RLE as JSON text, coordinates to a thousandth of a pixel."""
    if isinstance(segment, dict):
        return json.dumps(segment).encode()
    return json.dumps([[round(value, 3) for value in polygon] for polygon in segment]).encode()


def as_polygons(segment: Any) -> tuple[Polygons, bool]:
    """The polygons of a COCO segmentation, and whether they were drawn around a mask; none for None."""
    if isinstance(segment, dict):
        return rle.polygons(segment), True
    return [polygon for polygon in segment or () if len(polygon) >= 6 and len(polygon) % 2 == 0], False


def extent(polygons: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    """The box xyxy around all points."""
    xs = [value for polygon in polygons for value in polygon[::2]]
    ys = [value for polygon in polygons for value in polygon[1::2]]
    return min(xs), min(ys), max(xs), max(ys)


def bridged(polygons: Sequence[Sequence[float]]) -> list[float]:
    """One polygon that covers all of them: each is joined to the rest by a line there and back."""
    whole = np.reshape(polygons[0], (-1, 2)).astype(np.float64)
    for polygon in polygons[1:]:
        part = np.reshape(polygon, (-1, 2)).astype(np.float64)
        a, b = _closest(whole, part)
        whole = np.concatenate([whole[: a + 1], part[b:], part[: b + 1], whole[a:]])
    flat: list[float] = whole.reshape(-1).tolist()
    return flat


def _closest(a_N2: NDArray[np.float64], b_N2: NDArray[np.float64]) -> tuple[int, int]:
    """The places of the two points that are closest, the first of each by a walk over the smaller memory."""
    best = (math.inf, 0, 0)
    for place, point in enumerate(b_N2):
        far = np.square(a_N2 - point).sum(axis=1)
        nearest = int(far.argmin())
        best = min(best, (float(far[nearest]), nearest, place))
    return best[1], best[2]


def turned_rectangle(
    x: float, y: float, width: float, height: float, degrees: float, pivot: tuple[float, float]
) -> list[float]:
    """The corners of a rectangle turned clockwise (as seen, y down) around a point, as a polygon."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
    px, py = pivot
    return [
        value
        for cx, cy in corners
        for value in (px + (cx - px) * cosine - (cy - py) * sine, py + (cx - px) * sine + (cy - py) * cosine)
    ]
