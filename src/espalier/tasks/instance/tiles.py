"""What was said of overlapping tiles as what is said of the whole picture: detection's objects, with their masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from espalier.tasks.detection.tiles import pieced
from espalier.tasks.instance.prediction import Instances, Rle
from espalier.vision.rle import united
from espalier.vision.tiling import Window


def joined(
    predictions: Sequence[Instances], windows: Sequence[Window], size_hw: tuple[int, int], params: Mapping[str, Any]
) -> Instances:
    """The objects of the whole picture, best first. The mask of one that no tile saw whole are its pieces together."""
    if len(predictions) == 1:
        return predictions[0]
    said, shapes = pieced(predictions, windows, size_hw, params)
    masks = [(mask, window) for one, window in zip(predictions, windows, strict=True) for mask in one.mask]
    mask = [_mask([masks[row] for row in rows], size_hw) for rows in shapes]
    return Instances(said.box_xyxy, said.score, said.class_id, threshold=said.threshold, mask=mask)


def _mask(pieces: Sequence[tuple[Rle | None, Window]], size_hw: tuple[int, int]) -> Rle | None:
    there = [(mask, window.left, window.top) for mask, window in pieces if mask is not None]
    return united(there, size_hw) if there else None
