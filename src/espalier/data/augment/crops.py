"""Random changes of where a picture's content lies: crop, mirror, rotation. Resizing is vision.resize's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.spec.sections import AugmentSpec
from espalier.vision.channels import as_channels
from espalier.vision.geometry import Geometry
from espalier.vision.prepare import Prepare
from espalier.vision.resize import resize

_TRIES = 10


def placed(
    image_HWC: NDArray[Any], prepare: Prepare, spec: AugmentSpec, rng: np.random.Generator
) -> tuple[NDArray[Any], Geometry]:
    """A random part of the picture at the network's input size; with scale (1, 1) placed as in deployment."""
    if tuple(spec.scale) == (1.0, 1.0):
        return prepare.place(image_HWC)
    rule = prepare.input()
    image_HWC = as_channels(image_HWC, rule.channels, bands=rule.bands)
    box = random_box((image_HWC.shape[0], image_HWC.shape[1]), spec, rng)
    image_in = resize(image_HWC, prepare.size_hw, rule.resample, box=box)
    return image_in, _geometry_of_box(image_HWC, box, prepare.size_hw)


def random_box(
    size_hw: tuple[int, int], spec: AugmentSpec, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """A box (xyxy, whole pixels) with an area and a shape drawn from the spec's ranges, or the widest that fits.

    The rule of torchvision's RandomResizedCrop (BSD-3), which published recipes were trained with.
    """
    height, width = size_hw
    for _ in range(_TRIES):
        area = height * width * rng.uniform(*spec.scale)
        ratio = math.exp(rng.uniform(math.log(spec.ratio[0]), math.log(spec.ratio[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
            return float(left), float(top), float(left + w), float(top + h)
    return _central_box(height, width, spec.ratio)


def _central_box(height: int, width: int, ratio: tuple[float, float]) -> tuple[float, float, float, float]:
    w = min(width, max(1, round(height * ratio[1])))
    h = min(height, max(1, round(width / ratio[0])))
    left, top = (width - w) // 2, (height - h) // 2
    return float(left), float(top), float(left + w), float(top + h)


def _geometry_of_box(
    image_HWC: NDArray[Any], box: tuple[float, float, float, float], size_hw: tuple[int, int]
) -> Geometry:
    left, top, right, bottom = box
    scale_xy = (size_hw[1] / (right - left), size_hw[0] / (bottom - top))
    source_hw = (image_HWC.shape[0], image_HWC.shape[1])
    return Geometry(source_hw, size_hw, scale_xy, (-left * scale_xy[0], -top * scale_xy[1]), size_hw)


def mirrored(
    image_HWC: NDArray[Any], geometry: Geometry, spec: AugmentSpec, rng: np.random.Generator
) -> tuple[NDArray[Any], Geometry]:
    """The picture, perhaps mirrored left to right and upside down."""
    across, down = rng.random() < spec.hflip, rng.random() < spec.vflip
    if not (across or down):
        return image_HWC, geometry
    image_HWC = image_HWC[:: -1 if down else 1, :: -1 if across else 1]
    return image_HWC, geometry.then(Geometry.flip(geometry.input_hw, horizontal=across, vertical=down))


def rotated(image_HWC: NDArray[Any], degrees: float) -> NDArray[Any]:
    """The picture turned about its centre; what comes in from outside is its mirror image."""
    import cv2

    height, width, bands = image_HWC.shape
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    planes = [
        cv2.warpAffine(np.ascontiguousarray(image_HWC[:, :, c : c + 4]), turn, (width, height),
                       flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101).reshape(height, width, -1)
        for c in range(0, bands, 4)
    ]  # fmt: skip
    return planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
