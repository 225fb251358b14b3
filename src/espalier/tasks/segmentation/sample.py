"""Labels → the classes of a picture's pixels → the array that a loss needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.errors import DataError, Problem
from espalier.tasks.base import Annotations
from espalier.tasks.segmentation.prediction import BACKGROUND
from espalier.vision import rle
from espalier.vision.class_maps import ClassMap, counted, dtype_of, ignored, to_input
from espalier.vision.geometry import Geometry
from espalier.vision.mask_file import IGNORE, MaskFile
from espalier.vision.mask_maps import to_input as outline_to_input
from espalier.vision.masks import checked_polygon, segment_to_mask
from espalier.vision.tiling import Window


@dataclass(frozen=True, eq=False)
class SegmentationTarget:
    """What is known of a picture's pixels: a mask file, or outlines that are painted in the order of the labels.

    Nothing of it is an array of pixels: these are made when they are asked for.
    """

    classes: int
    mask: MaskFile | None = None
    class_id: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))  # (n,) of each outline
    outline: tuple[Any, ...] = ()  # n: COCO's polygons or RLE, in source pixels
    unknown_xyxy: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    """(k, 4) regions of which nothing is known where no outline lies: not labelled, or objects without an outline."""
    uncovered: int = IGNORE  # the class of pixels that no outline covers
    doubted: int = IGNORE  # a class of the mask that says nothing: what is background to one may be an object to others
    seen: Window | None = None  # the tile that is looked at: nothing is known outside it

    def class_map(self, size_hw: tuple[int, int], *, where: str = "") -> ClassMap:
        """(H, W) of the source, not to be written to. Raises DataError where the labels are of another size."""
        if self.mask is not None:
            check_size(self.mask.size_hw, size_hw, where or self.mask.path)
            return self._seen_alone(self._mask_map())
        found_HW = self._canvas(size_hw, Geometry.identity(size_hw), size_hw)
        for class_id, outline in zip(self.class_id, self.outline, strict=True):
            _paint(found_HW, outline, int(class_id), where)
        return self._seen_alone(found_HW)

    def input_map(self, geometry: Geometry) -> NDArray[np.int64]:
        """(H, W) of the input, -1 where nothing is known, as in the padding. Raises DataError as `class_map` does."""
        found_HW = self._input_map(geometry)
        class_HW = found_HW.astype(np.int64)
        class_HW[found_HW == ignored(found_HW.dtype)] = IGNORE
        return class_HW

    def pixels(self, size_hw: tuple[int, int], *, where: str = "") -> NDArray[np.int64]:
        """(C,) how many pixels of the source are of each class. Raises as `class_map`."""
        count_K = counted(self.class_map(size_hw, where=where))[: self.classes]
        return np.pad(count_K, (0, self.classes - len(count_K)))

    def largest_share(self, geometry: Geometry) -> float:
        """The commonest class's share of the labelled pixels of the input; NaN without any. Raises as `class_map`."""
        found_HW = self._input_map(geometry)
        pixels = np.bincount(found_HW.ravel(), minlength=self.classes)[: ignored(found_HW.dtype)]
        return float(pixels.max() / pixels.sum()) if pixels.any() else math.nan

    def _input_map(self, geometry: Geometry) -> ClassMap:
        """(H, W) of the input, the highest value where nothing is known."""
        nothing = ignored(dtype_of(self.classes))
        if self.mask is not None:
            check_size(self.mask.size_hw, geometry.source_hw, self.mask.path)
            found_HW = to_input(self._mask_map(), geometry, outside=nothing)
        else:
            found_HW = self._canvas(geometry.input_hw, geometry, geometry.valid_hw)
            for class_id, outline in zip(self.class_id, self.outline, strict=True):
                found_HW[outline_to_input(outline, geometry)] = class_id
        if self.seen is not None:
            _blank_outside(found_HW, geometry.boxes_to_input(np.array([self.seen.box_xyxy]))[0], nothing)
        return found_HW

    def _mask_map(self) -> ClassMap:
        assert self.mask is not None
        found_HW = self.mask.read()
        if self.doubted == IGNORE:
            return found_HW
        return np.where(found_HW == self.doubted, found_HW.dtype.type(ignored(found_HW.dtype)), found_HW)

    def _canvas(self, size_hw: tuple[int, int], geometry: Geometry, valid_hw: tuple[int, int]) -> ClassMap:
        """What lies under the outlines."""
        dtype = dtype_of(self.classes)
        nothing = ignored(dtype)
        found_HW = np.full(size_hw, nothing, dtype)
        base = nothing if self.uncovered == IGNORE else self.uncovered
        height, width = geometry.source_hw
        left, top, right, bottom = _whole(geometry.boxes_to_input(np.array([[0, 0, width, height]]))[0])
        found_HW[max(0, top) : min(bottom, valid_hw[0]), max(0, left) : min(right, valid_hw[1])] = base
        for box in geometry.boxes_to_input(self.unknown_xyxy):
            left, top, right, bottom = _whole(box)
            found_HW[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = nothing
        return found_HW

    def _seen_alone(self, class_HW: ClassMap) -> ClassMap:
        if self.seen is None:
            return class_HW
        class_HW = class_HW.copy()
        _blank_outside(class_HW, np.array(self.seen.box_xyxy), ignored(class_HW.dtype))
        return class_HW


def target(
    annotations: Annotations, classes: Sequence[str], size_hw: tuple[int, int] | None, name: str
) -> SegmentationTarget:
    """The labels of a picture's pixels.

    Where the labels are outlines, pixels that none covers are of the class 'background'; without such a class, or in a
    picture that was not labelled for all classes, nothing is known of them. An object without an outline says nothing
    of its box. Raises DataError for an id that has no class, and for a mask or outline that is none of its picture.
    """
    wrong = [int(c) for c in annotations.class_id if not 0 <= c < len(classes)]
    if wrong:
        raise DataError(Problem(name, f"class id {wrong[0]} is none of the model's", f"0 to {len(classes) - 1}"))
    if annotations.mask is not None:
        if size_hw is not None:
            check_size(annotations.mask.size_hw, size_hw, name)
        doubted = IGNORE if _is_background_known(annotations, classes) else list(classes).index(BACKGROUND)
        return SegmentationTarget(len(classes), annotations.mask, doubted=doubted)
    found = _outlined(annotations, classes)
    if size_hw is not None:
        for outline in found.outline:
            _check(outline, size_hw, name)
    return found


def _outlined(annotations: Annotations, classes: Sequence[str]) -> SegmentationTarget:
    outlines = list(annotations.segments) or [None] * len(annotations.class_id)
    drawn = np.array([bool(outline) for outline in outlines], np.bool_)
    bare = ~drawn & ~np.isnan(annotations.box_xyxy).any(axis=1)
    known = BACKGROUND in classes and _is_background_known(annotations, classes)
    return SegmentationTarget(
        len(classes),
        class_id=annotations.class_id[drawn],
        outline=tuple(outline for outline in outlines if outline),
        unknown_xyxy=np.concatenate([annotations.ignored_xyxy, annotations.box_xyxy[bare]]),
        uncovered=list(classes).index(BACKGROUND) if known else IGNORE,
    )


def _is_background_known(annotations: Annotations, classes: Sequence[str]) -> bool:
    """Was the picture labelled for all classes, so that what is none of them is background? True without the class."""
    return BACKGROUND not in classes or all(classes[c] == BACKGROUND for c in annotations.unlabelled)


def inside(truth: SegmentationTarget, window: Window) -> SegmentationTarget:
    """The truth of a tile: outside the window nothing is known."""
    return replace(truth, seen=window)


def merged(targets: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """The map of pictures that lie side by side in one input: each knows its own part alone."""
    return {"class_HW": np.maximum.reduce([each["class_HW"] for each in targets])}


def check_size(mask_hw: tuple[int, int], size_hw: tuple[int, int], where: str) -> None:
    """Raises DataError for a mask of another size than its picture."""
    if tuple(mask_hw) != tuple(size_hw):
        what = f"the mask has {mask_hw[1]} × {mask_hw[0]} px, its picture {size_hw[1]} × {size_hw[0]}"
        raise DataError(Problem(where, what, "the same size", "see `espalier data check`"))


def _check(outline: Any, size_hw: tuple[int, int], name: str) -> None:
    if isinstance(outline, Mapping):
        height, width = outline["size"]
        check_size((height, width), size_hw, name)
        return
    for polygon in outline:
        checked_polygon(polygon, size_hw, name)


def _paint(class_HW: ClassMap, outline: Any, class_id: int, where: str) -> None:
    size_hw = (int(class_HW.shape[0]), int(class_HW.shape[1]))
    if isinstance(outline, Mapping):
        check_size((outline["size"][0], outline["size"][1]), size_hw, where)
        part_HW, left, top = rle.cut_out(outline)
        class_HW[top : top + part_HW.shape[0], left : left + part_HW.shape[1]][part_HW] = class_id
        return
    class_HW[segment_to_mask(outline, size_hw, where=where or "polygon")] = class_id


def _whole(box_xyxy: NDArray[Any]) -> list[int]:
    """A box in whole pixels: those whose middles lie in it."""
    edges: list[int] = np.ceil(np.asarray(box_xyxy, np.float64) - 0.5).astype(int).tolist()
    return edges


def _blank_outside(class_HW: NDArray[Any], box_xyxy: NDArray[Any], value: int) -> None:
    left, top, right, bottom = (max(0, edge) for edge in _whole(box_xyxy))
    class_HW[:top], class_HW[bottom:] = value, value
    class_HW[:, :left], class_HW[:, right:] = value, value
