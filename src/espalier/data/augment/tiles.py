"""Four pictures as one, around a point near its middle (YOLOv4, arXiv 2004.10934)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.data.augment.crops import Size
from espalier.data.augment.placing import Place, fitted
from espalier.spec.training import AugmentSpec
from espalier.vision.channels import as_channels
from espalier.vision.geometry import Geometry
from espalier.vision.prepare import PrepareInput
from espalier.vision.resize import resize

COUNT = 4
MIDDLE = (0.3, 0.7)
"""Where the point may lie, of the height and the width."""


def tiled(
    images: Sequence[NDArray[Any]], rule: PrepareInput, spec: AugmentSpec, rng: np.random.Generator
) -> tuple[NDArray[Any], list[Geometry]]:
    """Four pictures in one of the size at which the first would enter, without padding, and the map of each onto it.

    Each fills its quarter, at a scale drawn between just doing so and its own when alone. It is cut off by the edges of
    the whole, never by its neighbours: what of a picture is not seen lies outside, where labels are clipped.
    """
    images = [as_channels(image, rule.channels, bands=rule.bands) for image in images]
    canvas_hw = rule.size_hw if rule.one_size else fitted(_size(images[0]), rule, spec, rng)
    middle_yx = [min(side - 1, max(1, round(side * rng.uniform(*MIDDLE)))) for side in canvas_hw]
    out = np.empty((*canvas_hw, rule.bands), images[0].dtype)
    maps = []
    for number, image_HWC in enumerate(images):
        below, right = divmod(number, 2)
        top, bottom = (middle_yx[0], canvas_hw[0]) if below else (0, middle_yx[0])
        start, stop = (middle_yx[1], canvas_hw[1]) if right else (0, middle_yx[1])
        place = _tile(_size(image_HWC), (bottom - top, stop - start), rule, rng, below=below > 0, right=right > 0)
        out[top:bottom, start:stop] = _like(resize(image_HWC, place.size_hw, rule.resample, box=place.box), out.dtype)
        maps.append(_moved(place.geometry(_size(image_HWC)), top, start, canvas_hw))
    return out, maps


def _tile(
    source_hw: Size, quarter_hw: Size, rule: PrepareInput, rng: np.random.Generator, *, below: bool, right: bool
) -> Place:
    """The part of a picture that its quarter shows: it reaches to the picture's corner that lies at the middle."""
    cover = max(quarter_hw[0] / source_hw[0], quarter_hw[1] / source_hw[1])
    alone_hw = rule.resize.size_of(source_hw) if rule.resize else source_hw
    alone = math.sqrt(alone_hw[0] * alone_hw[1] / (source_hw[0] * source_hw[1]))
    scale = math.exp(rng.uniform(math.log(cover), math.log(max(cover, alone))))
    height, width = (min(side, max(1, round(seen / scale))) for side, seen in zip(source_hw, quarter_hw, strict=True))
    top, left = 0 if below else source_hw[0] - height, 0 if right else source_hw[1] - width
    return Place((float(left), float(top), float(left + width), float(top + height)), quarter_hw)


def _moved(geometry: Geometry, top: int, left: int, canvas_hw: Size) -> Geometry:
    offset_xy = (geometry.offset_xy[0] + left, geometry.offset_xy[1] + top)
    return replace(geometry, input_hw=canvas_hw, offset_xy=offset_xy, valid_hw=canvas_hw)


def _like(image_HWC: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Pictures of 8 and 16 bit meet in the depth of the first."""
    if image_HWC.dtype == dtype:
        return image_HWC
    if dtype == np.uint8:
        return np.asarray(np.rint(image_HWC / 257), np.uint8)
    return image_HWC.astype(np.uint16) * np.uint16(257)


def _size(image_HWC: NDArray[Any]) -> Size:
    return int(image_HWC.shape[0]), int(image_HWC.shape[1])
