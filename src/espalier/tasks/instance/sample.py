"""Labels → the objects of a picture with their outlines → the masks that a loss needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.errors import DataError, Problem
from espalier.tasks.base import Annotations
from espalier.tasks.detection import sample as boxed
from espalier.tasks.detection.sample import DetectionTarget
from espalier.vision.geometry import Geometry
from espalier.vision.mask_maps import to_input
from espalier.vision.masks import checked_polygon
from espalier.vision.tiling import Window

RAGGED = (*boxed.RAGGED, "mask_NHW", "masked_N")


@dataclass(frozen=True, eq=False)
class InstanceTarget(DetectionTarget):
    """The objects of a picture, and the outline of each: COCO's polygons, its RLE, or None.

    An object without an outline is learnt and scored by its box alone; for masks its box is a region in which nothing
    counts.
    """

    outline: tuple[Any, ...] = ()  # n, in source pixels
    seen: Window | None = None  # the tile that is looked at: outside it masks are not known

    @property
    def has_outline(self) -> NDArray[np.bool_]:
        """(n,)"""
        return np.array([outline is not None for outline in self.outline], np.bool_)


def target(
    annotations: Annotations, classes: Sequence[str], size_hw: tuple[int, int] | None, name: str
) -> InstanceTarget:
    """The labelled objects. Raises DataError as detection's does, and for an outline that is none of its picture, where
    the picture's size is known."""
    found = boxed.target(annotations, classes, name)
    outlines: list[Any] = [segment or None for segment in annotations.segments] or [None] * len(annotations.class_id)
    placed_N = np.asarray(~np.isnan(annotations.box_xyxy).any(axis=1))
    kept = [outline for outline, placed in zip(outlines, placed_N, strict=True) if placed or outline is not None]
    if size_hw is not None:
        for outline in kept:
            check(outline, size_hw, name)
    return InstanceTarget(
        found.box_xyxy, found.class_id, found.is_crowd, found.area, found.ignored_xyxy, found.unlabelled,
        tuple(kept),
    )  # fmt: skip


def check(outline: Any, size_hw: tuple[int, int], name: str) -> None:
    """Raises DataError for an outline that is none of a picture of that size. (Run lengths are added up elsewhere.)"""
    if isinstance(outline, Mapping):
        height, width = outline["size"]
        if (height, width) != size_hw:
            what = f"a mask has {width} × {height} px, its picture {size_hw[1]} × {size_hw[0]}"
            raise DataError(Problem(name, what, "the same size", "see `espalier data check`"))
        return
    for polygon in outline or ():
        checked_polygon(polygon, size_hw, name)


def masks(truth: InstanceTarget, geometry: Geometry) -> dict[str, NDArray[Any]]:
    """`mask_NHW` (n, H, W) uint8, 1 on the pixels of the input that are the object's, in `box_N4`'s order; `masked_N`:
    False where nothing is known of the object's pixels, or the input shows none of them."""
    rows = boxed.asked(truth, geometry)
    mask_NHW = np.zeros((len(rows), *geometry.input_hw), np.uint8)
    for number, row in enumerate(rows):
        if truth.outline[row] is not None:
            check(truth.outline[row], geometry.source_hw, "outline")
            mask_NHW[number] = to_input(truth.outline[row], geometry)
    if truth.seen is not None:
        left, top, right, bottom = np.rint(geometry.boxes_to_input(np.array([truth.seen.box_xyxy]))[0]).astype(int)
        for beyond in (np.s_[: max(0, top)], np.s_[max(0, bottom) :]):
            mask_NHW[:, beyond] = 0
        for beyond in (np.s_[: max(0, left)], np.s_[max(0, right) :]):
            mask_NHW[:, :, beyond] = 0
    return {"mask_NHW": mask_NHW, "masked_N": np.asarray(mask_NHW.any(axis=(1, 2)))}


def inside(truth: InstanceTarget, window: Window) -> InstanceTarget:
    """The truth with all boxes and masks cut off at the window; what lies outside is gone."""
    outline = tuple(truth.outline[row] for row in boxed.reaching(truth, window))
    return replace(boxed.inside(truth, window), outline=outline, seen=window)


def merged(targets: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """The arrays of pictures that lie side by side in one input, as one picture's."""
    own = {name: np.concatenate([each[name] for each in targets]) for name in ("mask_NHW", "masked_N")}
    return {**boxed.merged(targets), **own}
