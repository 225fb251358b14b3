"""Random parts of a picture: boxes in whole source pixels."""

from __future__ import annotations

import math

import numpy as np

from espalier.spec.training import AugmentSpec
from espalier.vision.resize import Box

TRIES = 10
Size = tuple[int, int]


def whole(size_hw: Size) -> Box:
    """The box of the whole picture."""
    return 0.0, 0.0, float(size_hw[1]), float(size_hw[0])


def random_box(size_hw: Size, spec: AugmentSpec, rng: np.random.Generator) -> Box:
    """A box (xyxy, whole pixels) with an area and a shape drawn from the spec's ranges, or the widest that fits.

    The rule of torchvision's RandomResizedCrop (BSD-3), which published recipes were trained with.
    """
    height, width = size_hw
    for _ in range(TRIES):
        area = height * width * rng.uniform(*spec.scale)
        ratio = math.exp(rng.uniform(math.log(spec.ratio[0]), math.log(spec.ratio[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
            return float(left), float(top), float(left + w), float(top + h)
    return _central_box(height, width, spec.ratio)


def _central_box(height: int, width: int, ratio: tuple[float, float]) -> Box:
    w = min(width, max(1, round(height * ratio[1])))
    h = min(height, max(1, round(width / ratio[0])))
    left, top = (width - w) // 2, (height - h) // 2
    return float(left), float(top), float(left + w), float(top + h)


def random_part(size_hw: Size, spec: AugmentSpec, rng: np.random.Generator) -> Box:
    """DETR's random crop: sides drawn in pixels of the picture resized to a drawn shorter edge, then a place.

    The rule of its RandomResize and RandomSizeCrop (Apache-2.0), but resampled once, from the source, instead of twice.
    """
    scale = float(rng.choice(spec.crop_edges)) / min(size_hw)
    low, high = spec.crop_px
    sides = []
    for side in size_hw[::-1]:
        most = max(1, min(high, int(side * scale)))
        drawn = int(rng.integers(min(low, most), most + 1))
        sides.append(min(side, max(1, round(drawn / scale))))
    return window(whole(size_hw), (sides[1], sides[0]), rng)


def window(box: Box, size_hw: Size, rng: np.random.Generator) -> Box:
    """A part of that size (at most the box's own) at a random place inside the box."""
    left, top, right, bottom = (int(edge) for edge in box)
    x = left + int(rng.integers(0, right - left - size_hw[1] + 1))
    y = top + int(rng.integers(0, bottom - top - size_hw[0] + 1))
    return float(x), float(y), float(x + size_hw[1]), float(y + size_hw[0])
