"""What a model says of one picture's objects: their boxes, and which pixels are theirs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.detection import prediction as boxed
from espalier.tasks.detection.prediction import Detections
from espalier.vision import rle
from espalier.vision.masks import Mask, rle_area

Rle = Mapping[str, Any]
"""COCO's: {"size": [height, width], "counts": text}, in source pixels."""


@dataclass(frozen=True, eq=False)
class Instances(Detections):
    """Boxes with score and class, and the mask of each as run lengths; never as pixels, so that many need no room.

    Raises ValueError for rows that are none.
    """

    mask: Any = None  # (n,) objects: an RLE, or None where there is no mask

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [None] * len(self) if self.mask is None else list(self.mask)
        if len(given) != len(self) or not all(one is None or isinstance(one, Mapping) for one in given):
            raise ValueError("masks must be run lengths (RLE) or None, one for each box")
        column = np.empty(len(self), object)
        column[:] = given
        object.__setattr__(self, "mask", column)

    def area(self) -> NDArray[np.int64]:
        """(n,) pixels of each mask. Raises DataError for run lengths that don't add up."""
        return np.array([0 if one is None else rle_area(one) for one in self.mask], np.int64)

    def cut_out(self, row: int) -> tuple[Mask, int, int]:
        """(the mask of a row in its own box of pixels, left, top); without any pixel where there is none."""
        one = self.mask[row]
        return (np.zeros((0, 0), np.bool_), 0, 0) if one is None else rle.cut_out(one)

    def polygons(self, row: int) -> list[list[float]]:
        """The outer outlines of a row's mask, each a flat list x1, y1, x2, y2, …; holes are filled."""
        return [] if self.mask[row] is None else rle.polygons(self.mask[row])


def rows(prediction: Instances, classes: Sequence[str]) -> list[dict[str, Any]]:
    """A flat record for each object that is said: as a detector's, with its pixels and its mask as COCO's RLE."""
    said = prediction.said
    return [
        {**row, "area_px": int(area), "rle": "" if mask is None else json.dumps(mask)}
        for row, area, mask in zip(boxed.rows(said, classes), said.area(), said.mask, strict=True)
    ]


def to_json(prediction: Instances, classes: Sequence[str]) -> dict[str, Any]:
    """The objects that are said, with RLE and polygons, and from which score on."""
    said, found = prediction.said, boxed.to_json(prediction, classes)
    objects = [
        {**one, "area_px": int(area), "rle": mask, "polygons": said.polygons(row)}
        for row, (one, area, mask) in enumerate(zip(found["objects"], said.area(), said.mask, strict=True))
    ]
    return {**found, "objects": objects}
