"""Masks and their two written forms: polygons, and COCO's run lengths (plain or compressed).

Run lengths go down the columns, beginning with a run of zeros. Everything that comes from a file is checked here before
any native code sees it. The numbers equal pycocotools' (its mask API: P. Dollár and T.-Y. Lin, BSD).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.errors import DataError, Problem

MAX_PIXELS = 1_000_000_000
"""Of a mask: it is as large as its picture, whose own limit (data.max_pixels) is the one that counts."""
Mask = NDArray[np.bool_]  # (H, W)


# ---- run lengths -------------------------------------------------------------------------------------------------


def runs_of(rle: Mapping[str, Any], *, where: str = "rle") -> tuple[NDArray[np.int64], tuple[int, int]]:
    """The run lengths of a COCO RLE object, and the mask's (height, width). Raises DataError when they don't add up."""
    size_hw, counts = _checked_size(rle.get("size"), where), rle.get("counts")
    if isinstance(counts, str | bytes):
        runs = _uncompressed(counts.encode("ascii", "replace") if isinstance(counts, str) else counts, where)
    elif isinstance(counts, Sequence | np.ndarray):
        runs = _plain_runs(counts, where)
    else:
        raise DataError(Problem(where, "an RLE needs 'counts', a list of runs or a compressed text"))
    if (len(runs) and runs.min() < 0) or runs.sum() != size_hw[0] * size_hw[1]:
        what = f"the runs of an RLE add up to {int(runs.sum())} pixels"
        raise DataError(Problem(where, what, f"{size_hw[0]} × {size_hw[1]} = {size_hw[0] * size_hw[1]} pixels"))
    return runs, size_hw


def decode_rle(rle: Mapping[str, Any], *, where: str = "rle") -> Mask:
    """The mask that a COCO RLE object describes. Raises DataError."""
    runs, (height, width) = runs_of(rle, where=where)
    values = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def encode_rle(mask_HW: NDArray[Any], *, compressed: bool = True) -> dict[str, Any]:
    """The mask as a COCO RLE object: {"size": [height, width], "counts": text or list}."""
    flat = np.asarray(mask_HW, bool).T.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], changes, [flat.size]]))
    if flat.size and flat[0]:
        runs = np.concatenate([[0], runs])
    counts: Any = packed(runs) if compressed else runs.tolist()
    return {"size": [int(mask_HW.shape[0]), int(mask_HW.shape[1])], "counts": counts}


def rle_area(rle: Mapping[str, Any], *, where: str = "rle") -> int:
    """Number of pixels inside, without decoding. Raises DataError."""
    return int(runs_of(rle, where=where)[0][1::2].sum())


def _checked_size(size: Any, where: str) -> tuple[int, int]:
    if not isinstance(size, Sequence) or len(size) != 2 or not all(isinstance(s, int) and s > 0 for s in size):
        raise DataError(Problem(where, f"the size of an RLE is {size!r:.60}", "[height, width] in whole pixels"))
    if size[0] * size[1] > MAX_PIXELS:
        raise DataError(
            Problem(where, f"a mask of {size[0]} × {size[1]} px is refused", f"at most {MAX_PIXELS:,} pixels")
        )
    return int(size[0]), int(size[1])


def _plain_runs(counts: Any, where: str) -> NDArray[np.int64]:
    try:
        runs = np.asarray(counts)
    except ValueError as error:
        raise DataError(Problem(where, "the counts of an RLE are no list of numbers")) from error
    if runs.size and (runs.ndim != 1 or runs.dtype.kind not in "iu"):
        raise DataError(Problem(where, "the counts of an RLE are no list of whole numbers"))
    return runs.reshape(-1).astype(np.int64)


def _uncompressed(text: bytes, where: str) -> NDArray[np.int64]:
    """COCO's text: 5 bits a character from '0' on, bit 6 says that more follow; from the 4th run on, differences to the
    run before last."""
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if codes.size == 0 or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise DataError(Problem(where, "the compressed counts of an RLE are damaged"))
    last = np.flatnonzero((codes & 32) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    place = np.arange(codes.size) - np.repeat(first, last - first + 1)
    if place.max() > 6:  # 35 bits; no picture needs more
        raise DataError(Problem(where, "the compressed counts of an RLE are damaged"))
    values = np.add.reduceat((codes & 31) << (5 * place), first)
    negative = (codes[last] & 16) != 0
    values -= np.where(negative, np.int64(1) << (5 * (place[last] + 1)), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def packed(runs: NDArray[np.int64]) -> str:
    """Run lengths as COCO's text."""
    values = runs.astype(np.int64)
    values[3:] -= runs[1:-2]
    letters, used = [], []
    going = np.ones(len(values), np.bool_)
    while going.any():
        low, values = values & 31, values >> 5
        used.append(going)
        going = going & (values != np.where(low & 16, -1, 0))
        letters.append((low | np.where(going, 32, 0)) + 48)
    if not letters:
        return ""
    text = np.stack(letters, axis=1)[np.stack(used, axis=1)]
    return text.astype(np.uint8).tobytes().decode("ascii")


# ---- polygons ----------------------------------------------------------------------------------------------------


def polygons_to_mask(polygons: Sequence[Sequence[float]], size_hw: tuple[int, int], *, where: str = "polygon") -> Mask:
    """Pixels inside any of the polygons, each a flat list x1, y1, x2, y2, … of three points or more, by COCO's rule.

    Raises DataError for other lists and for values that are not finite or lie far outside the picture.
    """
    height, width = _checked_size(list(size_hw), where)
    return filled([checked_polygon(polygon, (height, width), where) for polygon in polygons], (height, width))


def filled(polygons: Sequence[Sequence[float]], size_hw: tuple[int, int]) -> Mask:
    """Pixels inside any of these polygons, by COCO's rule. They were checked; what lies outside is cut off."""
    return decode_rle(filled_rle(polygons, size_hw))


def filled_rle(polygons: Sequence[Sequence[float]], size_hw: tuple[int, int]) -> dict[str, Any]:
    """The same as an RLE object."""
    from faster_coco_eval.core import mask as coco_mask

    if not polygons:
        return {"size": list(size_hw), "counts": packed(np.array([size_hw[0] * size_hw[1]]))}
    found = coco_mask.merge(coco_mask.frPyObjects(list(polygons), *size_hw))
    return {"size": list(size_hw), "counts": found["counts"].decode("ascii")}


def checked_polygon(polygon: Sequence[float], size_hw: tuple[int, int], where: str) -> list[float]:
    """The polygon, of three points or more, none of them far outside its picture. Raises DataError."""
    try:
        flat = np.asarray(polygon, np.float64)
    except (ValueError, TypeError) as error:
        raise DataError(Problem(where, "a polygon is no list of numbers")) from error
    if flat.ndim != 1 or flat.size < 6 or flat.size % 2:
        raise DataError(
            Problem(where, f"a polygon of {flat.size} numbers is none", "x1, y1, x2, y2, … of three points or more")
        )
    reach = 2.0 * max(size_hw) + 1000
    if not np.isfinite(flat).all() or np.abs(flat).max() > reach:
        raise DataError(
            Problem(where, "a polygon lies far outside its picture", f"a picture of {size_hw[1]} × {size_hw[0]} px")
        )
    found: list[float] = flat.tolist()
    return found


def mask_to_polygons(mask_HW: NDArray[Any], *, smallest_px: float = 1.0) -> list[list[float]]:
    """The outer outlines as flat lists x1, y1, x2, y2, …, along the edges of pixels, so that what they fill is the mask
    itself; holes are lost, and parts under `smallest_px` in area too."""
    import cv2

    if not mask_HW.size:
        return []
    # OpenCV walks over the middles of pixels: on a picture twice as large these lie at both sides of every edge.
    height, width = mask_HW.shape
    twice_HW = np.empty((2 * height, 2 * width), np.uint8)
    twice_HW.reshape(height, 2, width, 2)[...] = np.asarray(mask_HW, bool)[:, None, :, None]
    outlines, _ = cv2.findContours(twice_HW, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    corners = (_corners((outline.reshape(-1, 2) + 1) // 2) for outline in outlines)
    return [[float(v) for v in corner_N2.reshape(-1)] for corner_N2 in corners if _shoelace(corner_N2) >= smallest_px]


def _corners(point_N2: NDArray[Any]) -> NDArray[np.float64]:
    """Those points at which a closed line turns."""
    point_N2 = point_N2[(point_N2 != np.roll(point_N2, 1, axis=0)).any(axis=1)]
    before, after = point_N2 - np.roll(point_N2, 1, axis=0), np.roll(point_N2, -1, axis=0) - point_N2
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return np.asarray(point_N2[turns], np.float64)


# ---- either form, and boxes ----------------------------------------------------------------------------------------


def segment_to_mask(segment: Any, size_hw: tuple[int, int], *, where: str = "segment") -> Mask:
    """The mask of a COCO segmentation: polygons, or an RLE of the picture's own size. Raises DataError."""
    if not isinstance(segment, Mapping):
        return polygons_to_mask(segment, size_hw, where=where)
    mask_HW = decode_rle(segment, where=where)
    if mask_HW.shape != tuple(size_hw):
        what = f"the mask has {mask_HW.shape[0]} × {mask_HW.shape[1]} px (height × width)"
        raise DataError(Problem(where, what, f"its picture has {size_hw[0]} × {size_hw[1]}"))
    return mask_HW


def mask_to_box(mask_HW: NDArray[Any]) -> NDArray[np.float32]:
    """The tightest box xyxy (4,) around the pixels inside; zeros when there are none."""
    rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
    if not len(rows):
        return np.zeros(4, np.float32)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def segment_area(segment: Any, *, where: str = "segment") -> float:
    """Area in px² of a COCO segmentation: of polygons the sum by the shoelace formula, of an RLE its pixels.

    Raises DataError for an RLE that does not add up and for a list that is no polygon.
    """
    if isinstance(segment, Mapping):
        return float(rle_area(segment, where=where))
    return sum(_shoelace(_points(polygon, where)) for polygon in segment)


def _shoelace(points_N2: NDArray[np.float64]) -> float:
    x, y = points_N2.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def segment_box(segment: Any, *, where: str = "segment") -> NDArray[np.float32]:
    """The tightest box xyxy (4,) around a COCO segmentation. Raises DataError as `segment_area` does."""
    if isinstance(segment, Mapping):
        return mask_to_box(decode_rle(segment, where=where))
    points_N2 = np.concatenate([_points(polygon, where) for polygon in segment])
    return np.concatenate([points_N2.min(axis=0), points_N2.max(axis=0)]).astype(np.float32)


def _points(polygon: Sequence[float], where: str) -> NDArray[np.float64]:
    """(N, 2)"""
    return np.asarray(checked_polygon(polygon, (MAX_PIXELS, MAX_PIXELS), where)).reshape(-1, 2)
