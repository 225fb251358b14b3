"""What a model says of one picture's pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.segmentation.packed import PackedMap
from espalier.vision import rle
from espalier.vision.class_maps import ClassMap, counted

BACKGROUND = "background"
"""The class by this name is what is left where nothing else is: it is no region when regions are listed or drawn."""
_WORDS = 5  # classes that one line names


@dataclass(frozen=True, eq=False)
class SegmentMap:
    """The class of every pixel of the source, kept packed so that many need little room; `class_HW` unpacks it.

    `sure_C` is how probable the model holds its own answer, on average over the pixels of each class; NaN for a class
    that it says nowhere, None where that is not known.
    """

    packed: PackedMap
    sure_C: NDArray[np.float32] | None = None

    @staticmethod
    def of(class_HW: NDArray[Any], *, sure_C: NDArray[np.float32] | None = None) -> SegmentMap:
        """The prediction that has these classes, uint8 or uint16. Raises ValueError for another array."""
        if class_HW.ndim != 2 or class_HW.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"a class map is (H, W) uint8 or uint16, not {class_HW.shape} {class_HW.dtype}")
        return SegmentMap(PackedMap.of(class_HW), sure_C)

    @property
    def class_HW(self) -> ClassMap:
        """(H, W) class ids, read-only."""
        return self.packed.class_HW

    @property
    def size_hw(self) -> tuple[int, int]:
        """Of the source."""
        return self.packed.size_hw

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the map."""
        return self.packed.dtype

    @cached_property
    def pixels(self) -> NDArray[np.int64]:
        """(K,) pixels of each class id, up to the highest that is there."""
        return counted(self.class_HW)

    def regions(self, classes: Sequence[str]) -> list[int]:
        """The classes that are said somewhere, without the background, in the order of their ids."""
        return [c for c in np.flatnonzero(self.pixels).tolist() if classes[c] != BACKGROUND]

    def sure(self, class_id: int) -> float:
        """How probable the class is on its own pixels; 1 where that is not known."""
        value = 1.0 if self.sure_C is None or class_id >= len(self.sure_C) else float(self.sure_C[class_id])
        return value if np.isfinite(value) else 1.0


def region_rle(class_HW: ClassMap, class_id: int) -> dict[str, Any]:
    """The pixels of a class as COCO's RLE."""
    return rle.placed(class_HW == class_id, 0, 0, (int(class_HW.shape[0]), int(class_HW.shape[1])))


def shares(prediction: SegmentMap) -> list[tuple[int, float]]:
    """(class, its share of the picture), the largest first."""
    pixels = prediction.pixels
    total = max(1, int(pixels.sum()))
    return [(int(c), float(pixels[c]) / total) for c in np.argsort(-pixels, kind="stable") if pixels[c]]


def words(prediction: SegmentMap, classes: Sequence[str]) -> str:
    """The largest classes with their shares of the picture."""
    found = shares(prediction)
    named = ", ".join(f"{classes[c]} {100 * share:.3g} %" for c, share in found[:_WORDS])
    return named + (f" and {len(found) - _WORDS} more" if len(found) > _WORDS else "")


def rows(prediction: SegmentMap, classes: Sequence[str]) -> list[dict[str, Any]]:
    """A flat record for each class that is said, the background too, the largest first."""
    return [
        {
            "class": classes[c],
            "class_id": c,
            "pixels": int(prediction.pixels[c]),
            "share": round(share, 6),
            "score": round(prediction.sure(c), 4),
        }
        for c, share in shares(prediction)
    ]


def to_json(prediction: SegmentMap, classes: Sequence[str]) -> dict[str, Any]:
    """The picture's size, and of each class its share and its pixels as RLE and polygons."""
    class_HW = prediction.class_HW
    said = []
    for row in rows(prediction, classes):
        region = region_rle(class_HW, row["class_id"])
        said.append({**row, "rle": region, "polygons": rle.polygons(region)})
    return {"height": prediction.size_hw[0], "width": prediction.size_hw[1], "classes": said}
