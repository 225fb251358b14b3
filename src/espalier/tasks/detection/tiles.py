"""What a detector said of overlapping tiles as what it says of the whole picture.

Neighbouring tiles share a strip. Two boxes of a class from different tiles mean the same object when, cut off at the
strip that both tiles see, they are the same box: whatever of an object lies outside the strip, one of the tiles could
not see it. A box that ends at an inner edge of its tile is most likely cut; the tile beyond saw more. So

1. boxes queue by score, a cut one as if it had half of it: the whole box of an object goes before its pieces;
2. each joins the first object of its class that has no box of its own tile (a detector says each object once, so two
   boxes of one tile are two objects) and a box that means the same; or of which it, a cut box, lies mostly inside;
3. an object's box is its best whole one, or where no tile saw all of it the one around its pieces; its score is the
   highest of them.

As many boxes are kept as the decoder keeps of one tile, for each tile's area that the picture has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.detection.prediction import Detections
from espalier.vision import boxes
from espalier.vision.tiling import Window

SAME_IOU = 0.5
"""Of two boxes, both cut off at the strip that both tiles see."""

INSIDE = 0.5
"""Of a cut box's area, for it to be a piece of the box that holds it."""

CUT_COUNTS = 0.5
"""What a cut box's score counts in the queue; boxes of less than this share of an object's score don't shape it."""

EDGE_SHARE = 0.01
"""Of a tile's side: so near to an inner edge a box ends at it. Detectors are that exact, not more."""


def joined(
    predictions: Sequence[Detections], windows: Sequence[Window], size_hw: tuple[int, int], params: Mapping[str, Any]
) -> Detections:
    """The boxes of the whole picture, best first. A picture of one tile has that tile's very boxes."""
    return predictions[0] if len(predictions) == 1 else pieced(predictions, windows, size_hw, params)[0]


def pieced(
    predictions: Sequence[Detections], windows: Sequence[Window], size_hw: tuple[int, int], params: Mapping[str, Any]
) -> tuple[Detections, list[list[int]]]:
    """The boxes of the whole picture, best first, and the rows that shape each, numbered through all tiles."""
    all_ = _Boxes.of(predictions, windows, size_hw)
    objects = _objects(all_, _links(all_, windows))
    score = np.array([max(all_.score[row] for row in rows) for rows in objects], np.float64)
    order = np.argsort(-score, kind="stable")[: _most(params, windows, size_hw)]
    shapes = [_shape(all_, objects[number]) for number in order]
    box_N4 = np.array([_around(all_.box_xyxy[rows]) for rows in shapes]).reshape(-1, 4)
    class_id = np.array([all_.class_id[rows[0]] for rows in shapes], np.int64)
    return Detections(box_N4, score[order], class_id, threshold=predictions[0].threshold), shapes


def _most(params: Mapping[str, Any], windows: Sequence[Window], size_hw: tuple[int, int]) -> int | None:
    """How many boxes a picture of that size may have; all where the decoder sets no limit."""
    top = params.get("top")
    if not isinstance(top, int):
        return None
    return top * math.ceil(size_hw[0] * size_hw[1] / (windows[0].height * windows[0].width))


@dataclass(frozen=True)
class _Boxes:
    """The boxes of all tiles in the picture's pixels, tile after tile."""

    box_xyxy: NDArray[np.float64]
    score: NDArray[np.float64]
    class_id: NDArray[np.int64]
    tile: NDArray[np.int64]
    is_cut: NDArray[np.bool_]
    start: NDArray[np.int64]  # (tiles + 1,) where each tile's boxes begin

    @staticmethod
    def of(predictions: Sequence[Detections], windows: Sequence[Window], size_hw: tuple[int, int]) -> _Boxes:
        moved = [
            np.asarray(said.box_xyxy, np.float64) + np.tile((window.left, window.top), 2)
            for said, window in zip(predictions, windows, strict=True)
        ]
        counts = [len(said) for said in predictions]
        return _Boxes(
            np.concatenate(moved),
            np.concatenate([said.score for said in predictions]).astype(np.float64),
            np.concatenate([said.class_id for said in predictions]),
            np.repeat(np.arange(len(windows)), counts),
            np.concatenate([_is_cut(box_N4, window, size_hw) for box_N4, window in zip(moved, windows, strict=True)]),
            np.concatenate([[0], np.cumsum(counts)]),
        )

    def rows(self, tile: int) -> NDArray[np.int64]:
        """Those of one tile."""
        return np.arange(self.start[tile], self.start[tile + 1])


def _is_cut(box_N4: NDArray[np.float64], window: Window, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """(N,) does the box end at an edge of its tile that is none of the picture?"""
    left, top, right, bottom = window.box_xyxy
    reach = max(1.0, EDGE_SHARE * max(window.size_hw))
    at = [
        (left > 0) & (box_N4[:, 0] <= left + reach),
        (top > 0) & (box_N4[:, 1] <= top + reach),
        (right < size_hw[1]) & (box_N4[:, 2] >= right - reach),
        (bottom < size_hw[0]) & (box_N4[:, 3] >= bottom - reach),
    ]
    return np.asarray(np.any(at, axis=0), np.bool_)


@dataclass
class _Links:
    """For each box the boxes of other tiles that mean the same object, and those that it is a piece of."""

    same: dict[int, set[int]] = field(default_factory=dict)
    pieces: dict[int, set[int]] = field(default_factory=dict)  # a cut box → boxes that hold most of it

    def add(self, row: int, other: int) -> None:
        """Two boxes that mean the same."""
        self.same.setdefault(row, set()).add(other)
        self.same.setdefault(other, set()).add(row)


def _links(all_: _Boxes, windows: Sequence[Window]) -> _Links:
    found = _Links()
    edge_T4 = np.array([window.box_xyxy for window in windows], np.float64)
    for one, other in zip(*np.nonzero(np.triu(_meet(edge_T4), 1)), strict=True):
        starts, ends = np.maximum(edge_T4[one], edge_T4[other])[:2], np.minimum(edge_T4[one], edge_T4[other])[2:]
        _link(all_, int(one), int(other), np.concatenate([starts, ends]), found)
    return found


def _meet(edge_T4: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(T, T) which tiles share pixels."""
    start_T2, end_T2 = edge_T4[:, :2], edge_T4[:, 2:]
    return np.asarray((start_T2[:, None] < end_T2[None]).all(-1) & (start_T2[None] < end_T2[:, None]).all(-1))


def _link(all_: _Boxes, one: int, other: int, strip_4: NDArray[np.float64], found: _Links) -> None:
    """The pairs of two tiles' boxes; only those that reach into the strip can mean the same."""
    rows, others = all_.rows(one), all_.rows(other)
    rows, others = (each[_reaches(all_.box_xyxy[each], strip_4)] for each in (rows, others))
    alike = all_.class_id[rows][:, None] == all_.class_id[others][None]
    a_N4, b_M4 = all_.box_xyxy[rows], all_.box_xyxy[others]
    same = alike & (boxes.iou(_within(a_N4, strip_4), _within(b_M4, strip_4)) >= SAME_IOU)
    for n, m in zip(*np.nonzero(same), strict=True):
        found.add(int(rows[n]), int(others[m]))
    shared_NM = boxes.intersection(a_N4, b_M4)
    _link_pieces(all_, rows, others, alike & (shared_NM >= INSIDE * boxes.area(a_N4)[:, None]), found)
    _link_pieces(all_, others, rows, (alike & (shared_NM >= INSIDE * boxes.area(b_M4)[None])).T, found)


def _link_pieces(
    all_: _Boxes, rows: NDArray[np.int64], others: NDArray[np.int64], inside_NM: NDArray[np.bool_], found: _Links
) -> None:
    """The cut ones among `rows` belong to the `others` that hold most of them."""
    for n, m in zip(*np.nonzero(inside_NM & all_.is_cut[rows][:, None]), strict=True):
        found.pieces.setdefault(int(rows[n]), set()).add(int(others[m]))


def _within(box_N4: NDArray[np.float64], strip_4: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(box_N4, strip_4[[0, 1, 0, 1]], strip_4[[2, 3, 2, 3]])


def _reaches(box_N4: NDArray[np.float64], strip_4: NDArray[np.float64]) -> NDArray[np.bool_]:
    cut_N4 = _within(box_N4, strip_4)
    return np.asarray((cut_N4[:, 2:] > cut_N4[:, :2]).all(axis=1), np.bool_)


def _objects(all_: _Boxes, links: _Links) -> list[list[int]]:
    """The rows of each object, the one that came first in the queue first."""
    objects: list[list[int]] = []
    object_of: dict[int, int] = {}
    for row in np.argsort(-all_.score * np.where(all_.is_cut, CUT_COUNTS, 1.0), kind="stable").tolist():
        near = {object_of[n] for n in links.same.get(row, set()) | links.pieces.get(row, set()) if n in object_of}
        free = (n for n in sorted(near) if all_.tile[row] not in all_.tile[objects[n]])
        number = next(free, len(objects))
        if number == len(objects):
            objects.append([])
        objects[number].append(row)
        object_of[row] = number
    return objects


def _shape(all_: _Boxes, rows: list[int]) -> list[int]:
    """What shapes the object: its best whole box, else all its pieces; boxes hardly believed in don't count."""
    if len(rows) == 1:
        return rows
    score = all_.score[rows]
    kept = [row for row, value in zip(rows, score, strict=True) if value >= CUT_COUNTS * score.max()]
    whole = [row for row in kept if not all_.is_cut[row]]
    return [max(whole, key=lambda row: all_.score[row])] if whole else kept


def _around(box_N4: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([box_N4[:, :2].min(axis=0), box_N4[:, 2:].max(axis=0)])
