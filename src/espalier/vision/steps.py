"""The steps of prepare: a closed vocabulary of frozen values, each with its rule for sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from espalier.errors import ImageError, ModelError, Problem
from espalier.vision.geometry import Geometry
from espalier.vision.resize import RESAMPLES, Resample

Fit = Literal["stretch", "shortest_edge", "longest_edge", "capped_edges"]
FITS: tuple[str, ...] = get_args(Fit)
MAX_SIDE_PX, MAX_INPUT_PX = 16_384, 2**24


@dataclass(frozen=True)
class Resize:
    """stretch: exactly `size_hw`. shortest_edge: as small as covers it (torchvision's rounding). longest_edge: as large
    as fits into it. capped_edges: the shorter edge as the smaller of `size_hw`, less where the longer edge would exceed
    the larger (DETR's way and rounding). All but stretch keep the picture's shape."""

    op: ClassVar[str] = "resize"
    fit: Fit
    size_hw: tuple[int, int]
    resample: Resample = "pillow_bilinear"

    def __post_init__(self) -> None:
        check_size("resize", self.size_hw)
        check_word("resize.fit", self.fit, FITS)
        check_word("resize.resample", self.resample, RESAMPLES)

    def size_of(self, source_hw: tuple[int, int]) -> tuple[int, int]:
        """The size that a picture of `source_hw` gets."""
        height, width = source_hw
        if self.fit == "stretch":
            return self.size_hw
        if self.fit == "capped_edges":
            return _capped(source_hw, min(self.size_hw), max(self.size_hw))
        by_height = self.size_hw[0] / height
        by_width = self.size_hw[1] / width
        if self.fit == "longest_edge":
            scale = min(by_height, by_width)
            return max(1, round(height * scale)), max(1, round(width * scale))
        # torchvision: the deciding edge exactly, the other int(size * long / short)
        if by_height >= by_width:
            return self.size_hw[0], max(self.size_hw[1], int(self.size_hw[0] * width / height))
        return max(self.size_hw[0], int(self.size_hw[1] * height / width)), self.size_hw[1]


def _capped(source_hw: tuple[int, int], shorter: int, longest: int) -> tuple[int, int]:
    """The size by the rule of DETR's `get_size_with_aspect_ratio` (Apache-2.0), operation by operation."""
    height, width = source_hw
    short, long = min(source_hw), max(source_hw)
    if long / short * shorter > longest:
        shorter = round(longest * short / long)
    if shorter == 0:  # thinner than DETR can take
        return (longest, 1) if width < height else (1, longest)
    if width < height:
        return int(shorter * height / width), shorter
    return shorter, int(shorter * width / height)


@dataclass(frozen=True)
class CentreCrop:
    """The middle part, placed by torchvision's rounding. Raises ImageError when the picture is smaller."""

    op: ClassVar[str] = "centre_crop"
    size_hw: tuple[int, int]

    def __post_init__(self) -> None:
        check_size("centre_crop", self.size_hw)

    def geometry(self, source_hw: tuple[int, int]) -> Geometry:
        """The map of a picture of `source_hw` onto its middle."""
        if source_hw[0] < self.size_hw[0] or source_hw[1] < self.size_hw[1]:
            raise ImageError(f"{px(source_hw)} is too small for a crop of {px(self.size_hw)}")
        top, left = (round((have - keep) / 2.0) for have, keep in zip(source_hw, self.size_hw, strict=True))
        return Geometry.crop(source_hw, top=top, left=left, size_hw=self.size_hw)

    def apply(self, image_HWC: NDArray[Any]) -> NDArray[Any]:
        """The middle of the picture, a view."""
        left, top = (-round(edge) for edge in self.geometry(image_HWC.shape[:2]).offset_xy)
        return image_HWC[top : top + self.size_hw[0], left : left + self.size_hw[1]]


@dataclass(frozen=True)
class Pad:
    """Padding on the right and bottom with `value` (a pixel value, for every channel)."""

    op: ClassVar[str] = "pad"
    size_hw: tuple[int, int]
    value: int = 0

    def __post_init__(self) -> None:
        check_size("pad", self.size_hw)
        check_pixel("pad", self.value)

    def geometry(self, source_hw: tuple[int, int]) -> Geometry:
        """The map of a picture of `source_hw` onto the padded one. Raises ImageError when it does not fit."""
        if source_hw[0] > self.size_hw[0] or source_hw[1] > self.size_hw[1]:
            raise ImageError(f"{px(source_hw)} does not fit into {px(self.size_hw)}")
        return Geometry.pad(source_hw, self.size_hw)

    def apply(self, image_HWC: NDArray[Any]) -> NDArray[Any]:
        """The picture at `size_hw`."""
        return _filled_up(image_HWC, self.size_hw, self.value)


@dataclass(frozen=True)
class PadMultiple:
    """Padding on the right and bottom with `value` until both sides are multiples of `multiple`, `least_px` or more."""

    op: ClassVar[str] = "pad_multiple"
    multiple: int
    value: int = 0
    least_px: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.multiple <= 1024:
            raise ModelError(f"prepare: pad_multiple.multiple is {self.multiple}, not 1-1024")
        if not 1 <= self.least_px <= MAX_SIDE_PX:
            raise ModelError(f"prepare: pad_multiple.least_px is {self.least_px}, not 1-{MAX_SIDE_PX}")
        check_pixel("pad_multiple", self.value)

    def size_of(self, source_hw: tuple[int, int]) -> tuple[int, int]:
        """The size that a picture of `source_hw` gets."""
        height, width = (-(-max(side, self.least_px) // self.multiple) * self.multiple for side in source_hw)
        return height, width

    def geometry(self, source_hw: tuple[int, int]) -> Geometry:
        """The map of a picture of `source_hw` onto the padded one."""
        return Geometry.pad(source_hw, self.size_of(source_hw))

    def apply(self, image_HWC: NDArray[Any]) -> NDArray[Any]:
        """The picture with its padding."""
        return _filled_up(image_HWC, self.size_of((image_HWC.shape[0], image_HWC.shape[1])), self.value)


def _filled_up(image_HWC: NDArray[Any], size_hw: tuple[int, int], value: int) -> NDArray[Any]:
    height, width, channels = image_HWC.shape
    if (height, width) == size_hw:
        return image_HWC
    padded = np.full((*size_hw, channels), min(value, np.iinfo(image_HWC.dtype).max), image_HWC.dtype)
    padded[:height, :width] = image_HWC
    return padded


@dataclass(frozen=True)
class Normalise:
    """(value - mean) / std for each channel, of values that `value_range` has brought to 0-1."""

    op: ClassVar[str] = "normalise"
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise ModelError("prepare: normalise needs a mean and a std for each channel")
        if not all(map(math.isfinite, (*self.mean, *self.std))) or min(self.std) <= 0:
            raise ModelError("prepare: normalise needs finite means and deviations above 0")


Step = Resize | CentreCrop | Pad | PadMultiple | Normalise
STEPS: Mapping[str, type[Step]] = {kind.op: kind for kind in (Resize, CentreCrop, Pad, PadMultiple, Normalise)}
ORDER = {op: place for place, op in enumerate(STEPS)}


def px(size_hw: tuple[int, ...]) -> str:
    return f"{size_hw[1]} × {size_hw[0]} px"


def check_size(what: str, size_hw: tuple[int, int]) -> None:
    if min(size_hw) < 1 or max(size_hw) > MAX_SIDE_PX or size_hw[0] * size_hw[1] > MAX_INPUT_PX:
        limit = f"sides of 1 to {MAX_SIDE_PX:,} px and at most {MAX_INPUT_PX:,} pixels"
        raise ModelError(Problem("", f"prepare: {what} to {size_hw[0]} × {size_hw[1]} px (height × width)", limit))


def check_pixel(what: str, value: int) -> None:
    if not 0 <= value <= 65535:
        raise ModelError(f"prepare: {what}.value is {value}, not a pixel value (0-65535)")


def check_word(what: str, word: str, words: tuple[str, ...]) -> None:
    if word not in words:
        raise ModelError(Problem("", f"prepare: {what} '{word}' is unknown", f"one of {', '.join(words)}"))
