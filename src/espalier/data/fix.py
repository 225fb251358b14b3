"""A corrected copy of a data set: what `data check --fix DIR` writes. The original is never touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from espalier.data import check_labels, check_pictures, convert, upright
from espalier.data.formats.base import Loss
from espalier.data.index import UNKNOWN, Index
from espalier.data.leaks import leaks
from espalier.data.scan import Scan
from espalier.data.segments import Segments
from espalier.errors import DataError


def fix(indexes: Mapping[str, Index], seen: Mapping[str, Scan], folder: Path) -> tuple[Loss, ...]:
    """Writes the corrected copy, in the same format, and says what was changed or left out.

    Pictures that can't be read go, and those of an earlier split that show the same as one of a later split; boxes are
    clipped, boxes and outlines that can't be used go; turned pictures are stored upright. `indexes` were read with
    `strict=False`: what their readers left out stays out.
    """
    done: dict[str, int] = {}
    leaky = {(split, row) for (split, row), _ in leaks(seen)} if "train" in indexes else set()
    fixed, turned = {}, {}
    for split, index in indexes.items():
        scan = seen[split]
        leaking = np.array([(split, row) in leaky for row in range(len(index))], np.bool_)
        rows = scan.readable & ~leaking
        _count(done, "pictures that can't be read, left out", int((~scan.readable).sum()))
        _count(
            done, "pictures that show the same as one of a later split, left out", int((leaking & scan.readable).sum())
        )
        fixed[split] = _corrected(index.subset(rows), scan.subset(rows), done)
        turned[split] = scan.orientation[rows] != 1
        _count(
            done, "items that the reader could not use, left out", sum(f.severity == "error" for f in index.findings)
        )
    fixed = {split: index for split, index in fixed.items() if len(index)}
    if not fixed:
        raise DataError("no picture is left to write")
    first = next(iter(indexes.values()))
    losses = convert.write(fixed, folder, format=first.format, upright={split: turned[split] for split in fixed})
    return (*(Loss(what, count) for what, count in done.items() if count), *losses)


def _count(done: dict[str, int], what: str, count: int) -> None:
    done[what] = done.get(what, 0) + count


def _corrected(index: Index, seen: Scan, done: dict[str, int]) -> Index:
    bad = check_labels.no_area(index) | check_labels.unusable_outlines(index, seen) | check_labels.repeats(index)
    _count(done, "labels without area, with a broken outline, or there twice, left out", int(bad.sum()))
    index = _upright(index.keep_annotations(~bad), seen)
    clipped = _clip(index, seen.size_hw)
    moved = (clipped != index.box_xyxy).any(axis=1) & ~np.isnan(clipped[:, 0])
    area = None if index.area is None else np.where(moved, np.nan, index.area)
    size_hw = np.where(seen.size_hw == UNKNOWN, index.size_hw, seen.size_hw)
    index = replace(index, box_xyxy=clipped, size_hw=size_hw, area=area)
    outside = check_labels.no_area(index)
    _count(done, "boxes clipped to their picture", int((moved & ~outside).sum()))
    _count(done, "boxes wholly outside their picture, left out", int(outside.sum()))
    return index.keep_annotations(~outside)


def _clip(index: Index, size_hw: NDArray[np.int32]) -> NDArray[np.float32]:
    frame = size_hw[index.image_row].astype(np.float32)
    frame[frame == UNKNOWN] = np.inf
    clipped: NDArray[np.float32] = np.clip(index.box_xyxy, 0, frame[:, [1, 0, 1, 0]]).astype(np.float32)
    return clipped


def _upright(index: Index, seen: Scan) -> Index:
    """Labels that were drawn on stored pictures, turned with them."""
    drawn = check_pictures.drawn_on_stored(index, seen)[index.image_row]
    if not drawn.any():
        return index
    box_xyxy = index.box_xyxy.copy()
    outlines = [index.segments.raw(m) for m in range(len(index.segments))]
    for m in np.flatnonzero(drawn).tolist():
        row = int(index.image_row[m])
        orientation = int(seen.orientation[row])
        stored_hw = (int(index.size_hw[row, 0]), int(index.size_hw[row, 1]))
        box_xyxy[m] = upright.boxes(box_xyxy[m : m + 1], orientation, stored_hw)[0]
        outlines[m] = upright.outline(index.segments[m], orientation, stored_hw)
    return replace(index, box_xyxy=box_xyxy, segments=Segments.of(outlines))
