"""What is kept of scored pictures: detection's columns three times, by overlap of masks, of rims and of boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.base import Sample
from espalier.tasks.detection.budget import BACKGROUND
from espalier.tasks.detection.collected import Collector, Columns, Truth
from espalier.tasks.detection.figures import Kept, Noun
from espalier.tasks.detection.matching import Pairs
from espalier.tasks.instance.overlap import overlaps
from espalier.tasks.instance.prediction import Instances
from espalier.tasks.instance.sample import InstanceTarget

MASK = Noun("mask", "masks", "mask average precision (mask mAP)")
RIM = Noun("boundary", "boundaries", "boundary average precision")


class Measured(NamedTuple):
    """The same pictures by three kinds of overlap."""

    masks: Kept
    rims: Kept
    boxes: Kept


@dataclass(frozen=True)
class _Row:
    """A picture: pairs that overlap, numbered within it, and what masks have other than boxes."""

    masks: Pairs
    rims: Pairs
    area: NDArray[np.float64]  # (n,) px² of the masks
    without: NDArray[np.bool_]  # (g,) objects without an outline


class MaskCollector:
    """Takes predictions and truths picture by picture; keeps which overlap, never a mask."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._boxes = Collector(classes)
        self._rows: list[_Row] = []

    def add(self, prediction: Instances, sample: Sample) -> None:
        """One more picture. Raises ValueError for a class that there is not, and for a mask of another size."""
        picture = self._boxes.add(prediction, sample)
        found = overlaps(picture.said, picture.truth, sample.target)
        without = _without(picture.truth, sample.target)
        self._rows.append(_Row(_pairs(found.masks), _pairs(found.rims), found.area, without))

    def measured(self) -> Measured:
        """All of them. For masks and rims an object without an outline is a region in which its class doesn't count."""
        columns, rows = self._boxes.columns(), self._rows
        own = _of_masks(columns, rows)
        masks, rims = (_numbered(pairs, columns) for pairs in ([r.masks for r in rows], [r.rims for r in rows]))
        return Measured(Kept(own, masks, MASK), Kept(own, rims, RIM), Kept.by_boxes(columns))


def _pairs(iou_NG: NDArray[np.float64]) -> Pairs:
    found, other = np.nonzero(iou_NG >= BACKGROUND)
    return Pairs(found, other, iou_NG[found, other])


def _without(truth: Truth, target: InstanceTarget) -> NDArray[np.bool_]:
    without = np.zeros(len(truth), np.bool_)
    without[: len(target)] = ~target.has_outline
    return without


def _of_masks(columns: Columns, rows: Sequence[_Row]) -> Columns:
    area = np.concatenate([np.zeros(0), *(row.area for row in rows)])
    without = np.concatenate([np.zeros(0, np.bool_), *(row.without for row in rows)])
    objects = replace(columns.objects, crowd=columns.objects.crowd | without)
    return replace(columns, found=replace(columns.found, area=area), objects=objects)


def _numbered(parts: Sequence[Pairs], columns: Columns) -> Pairs:
    """The pairs of all pictures, their detections and objects numbered through."""
    pictures = np.repeat(np.arange(len(parts)), [len(part.iou) for part in parts])
    found, other, iou = (
        np.concatenate([np.zeros(0, kind), *(getattr(part, name) for part in parts)])
        for name, kind in (("found", np.int64), ("object", np.int64), ("iou", np.float64))
    )
    return Pairs(
        found + np.searchsorted(columns.found.picture, pictures),
        other + np.searchsorted(columns.objects.picture, pictures),
        iou,
    )
