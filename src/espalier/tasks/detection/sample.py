"""Labels → the truth of a picture → the arrays that a loss needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from espalier.errors import DataError, Problem
from espalier.tasks.base import Annotations
from espalier.vision import boxes, masks
from espalier.vision.geometry import Geometry
from espalier.vision.tiling import Window

EVERY_CLASS = -1  # the class of a region in which nothing was labelled


@dataclass(frozen=True, eq=False)
class DetectionTarget:
    """The objects of a picture, n rows, in source pixels. None at all: a picture of the background.

    A crowd is a region full of its class, labelled once: what lies in it is neither right nor wrong (COCO's rule). In
    an ignored region that holds for every class. `unlabelled` are the classes that the labels of this picture say
    nothing about: their boxes are neither right nor wrong, wherever they are.
    """

    box_xyxy: NDArray[np.float32]  # (n, 4)
    class_id: NDArray[np.int64]  # (n,)
    is_crowd: NDArray[np.bool_]  # (n,)
    area: NDArray[np.float64]  # (n,) px² as the labels give it, else of the outline, else of the box
    ignored_xyxy: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))  # (k, 4)
    unlabelled: tuple[int, ...] = ()

    @staticmethod
    def none() -> DetectionTarget:
        """Nothing at all."""
        return DetectionTarget(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_), np.zeros(0))

    def __len__(self) -> int:
        return len(self.class_id)


Truth = TypeVar("Truth", bound=DetectionTarget)


def target(annotations: Annotations, classes: Sequence[str], name: str) -> DetectionTarget:
    """The labelled objects. A label with no place says that its class is there, unlabelled.

    Raises DataError for an id that has no class, for a box that is not finite and for one that ends before it begins.
    """
    class_id = np.asarray(annotations.class_id, np.int64)
    _check_classes(class_id, len(classes), name)
    box_N4, area_N = _placed(annotations)
    there_N = ~np.isnan(box_N4).any(axis=1)
    _check_boxes(box_N4[there_N], name)
    return DetectionTarget(
        box_N4[there_N],
        class_id[there_N],
        np.asarray(annotations.is_crowd, np.bool_)[there_N],
        area_N[there_N],
        annotations.ignored_xyxy,
        tuple(sorted({*class_id[~there_N].tolist(), *annotations.unlabelled})),
    )


def _check_classes(class_id: NDArray[np.int64], count: int, name: str) -> None:
    wrong = class_id[(class_id < 0) | (class_id >= count)]
    if len(wrong):
        raise DataError(Problem(name, f"class id {wrong[0]} is not one of the {count} classes"))


def _check_boxes(box_N4: NDArray[np.float32], name: str) -> None:
    bad = ~np.isfinite(box_N4).all(axis=1) | (box_N4[:, 2:] < box_N4[:, :2]).any(axis=1)
    if bad.any():
        shown = ", ".join(f"{v:g}" for v in box_N4[bad][0])
        raise DataError(
            Problem(
                name, f"the box ({shown}) is none", "left, top, right, bottom in pixels", "see `espalier data check`"
            )
        )


def _placed(annotations: Annotations) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Boxes (n, 4), an outline's where the label has none of its own, and areas (n,)."""
    box_N4 = np.array(annotations.box_xyxy, np.float32)
    area_N = boxes.area(box_N4)
    for row, outline in enumerate(annotations.segments):
        if not outline:
            continue
        area_N[row] = masks.segment_area(outline)
        if np.isnan(box_N4[row]).any():
            box_N4[row] = masks.segment_box(outline)
    if annotations.area is not None:
        area_N = np.where(np.isnan(annotations.area), area_N, annotations.area)
    return box_N4, area_N


def arrays(truth: DetectionTarget, geometry: Geometry) -> dict[str, NDArray[Any]]:
    """`class_N` and `box_N4`, the objects to find; `ignored_class_K` and `ignored_K4`, where nothing is right or wrong.

    Boxes are centre x, centre y, width, height from 0 to 1 of the valid part of the input, cut off at its edges; what
    is left without area is dropped. `ignored_class_K` is -1 where it holds for every class. `unlabelled_U` are the
    classes that the labels say nothing about: ids, so that a loss sees by the shape alone where there are none.
    """
    objects = ~truth.is_crowd
    box_N4, kept_N = _relative(truth.box_xyxy[objects], geometry)
    regions = np.concatenate([truth.box_xyxy[truth.is_crowd], truth.ignored_xyxy])
    region_class = np.concatenate([truth.class_id[truth.is_crowd], np.full(len(truth.ignored_xyxy), EVERY_CLASS)])
    region_K4, kept_K = _relative(regions, geometry)
    return {
        "class_N": truth.class_id[objects][kept_N],
        "box_N4": box_N4,
        "ignored_class_K": region_class[kept_K].astype(np.int64),
        "ignored_K4": region_K4,
        "unlabelled_U": np.array(truth.unlabelled, np.int64),
    }


RAGGED = ("class_N", "box_N4", "ignored_class_K", "ignored_K4", "unlabelled_U")


def asked(truth: DetectionTarget, geometry: Geometry) -> NDArray[np.int64]:
    """The numbers of the objects that `arrays` asks for, in its order."""
    objects = np.flatnonzero(~truth.is_crowd)
    return np.asarray(objects[_relative(truth.box_xyxy[objects], geometry)[1]])


def _relative(box_N4: NDArray[np.float32], geometry: Geometry) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The boxes in the input's valid part, those with an area alone; and which these are."""
    height, width = geometry.valid_hw
    inside = boxes.clip(geometry.boxes_to_input(box_N4), (height, width)) / (width, height, width, height)
    kept = np.asarray((inside[:, 2:] > inside[:, :2]).all(axis=1), np.bool_)
    return boxes.cxcywh_from_xyxy(inside[kept]).astype(np.float32), kept


def cut(truth: DetectionTarget, geometry: Geometry, min_visible: float) -> DetectionTarget:
    """The truth with the objects of which less than that share lies inside the input's valid part as crowds."""
    own_N4 = boxes.clip(truth.box_xyxy, geometry.source_hw)
    placed_N4 = geometry.boxes_to_input(own_N4)
    seen_N = boxes.area(boxes.clip(placed_N4, geometry.valid_hw))
    sliver_N = seen_N < min_visible * (1 - 1e-6) * boxes.area(placed_N4)  # a whole box is whole after rounding too
    return replace(truth, is_crowd=truth.is_crowd | sliver_N) if sliver_N.any() else truth


def inside(truth: Truth, window: Window) -> Truth:
    """The truth with all boxes cut off at the window; what lies outside is gone. Areas are still whole objects'."""
    kept_N, ignored_K4 = reaching(truth, window), _at_edges(truth.ignored_xyxy, window)
    return replace(
        truth,
        box_xyxy=_at_edges(truth.box_xyxy[kept_N], window),
        class_id=truth.class_id[kept_N],
        is_crowd=truth.is_crowd[kept_N],
        area=truth.area[kept_N],
        ignored_xyxy=ignored_K4[boxes.area(ignored_K4) > 0],
    )


def reaching(truth: DetectionTarget, window: Window) -> NDArray[np.int64]:
    """The numbers of the objects that `inside` keeps."""
    return np.flatnonzero(boxes.area(_at_edges(truth.box_xyxy, window)) > 0)


def _at_edges(box_N4: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
    left, top, right, bottom = window.box_xyxy
    return np.asarray(np.clip(box_N4, (left, top, left, top), (right, bottom, right, bottom)), np.float32)


def merged(targets: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """The `arrays` of pictures that lie side by side in one input, as one picture's."""
    found = {name: np.concatenate([each[name] for each in targets]) for name in RAGGED}
    return {**found, "unlabelled_U": np.unique(found["unlabelled_U"])}


def truth_words(truth: DetectionTarget, classes: Sequence[str]) -> str:
    """Such as '2 crown, 1 trunk'; 'nothing' for a picture of the background."""
    counts: Mapping[int, int] = dict(zip(*np.unique(truth.class_id[~truth.is_crowd], return_counts=True), strict=True))
    return ", ".join(f"{count} {classes[c]}" for c, count in counts.items()) or "nothing"
