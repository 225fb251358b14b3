"""Random changes of a picture's values: light, colour, blur, noise, erased parts. 8 and 16 bit alike."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from espalier.spec.training import AugmentSpec

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], np.float32)


def coloured(image_HWC: NDArray[Any], spec: AugmentSpec, rng: np.random.Generator) -> NDArray[Any]:
    """The picture with its brightness, contrast, saturation and hue changed, all by one matrix on its channels.

    Saturation and hue need three colours (alpha is left alone); contrast is about the picture's own mean.
    """
    colours = min(image_HWC.shape[2], 3) if image_HWC.shape[2] in (1, 2, 3, 4) else image_HWC.shape[2]
    if image_HWC.shape[2] == 2:
        colours = 1
    matrix = _colour_matrix(colours, spec, rng)
    light, contrast = (1 + rng.uniform(-1, 1) * amount for amount in (spec.brightness, spec.contrast))
    if not any((spec.brightness, spec.contrast, spec.saturation, spec.hue)):  # before the mean, which takes time
        return image_HWC
    part_HWC = image_HWC[:, :, :colours]
    mean_C = _mean(part_HWC)
    grey = float(mean_C @ _LUMA) if colours == 3 else float(mean_C.mean())
    full = (light * contrast * matrix).astype(np.float32)
    shift = light * grey * (1 - contrast)
    if np.allclose(full, np.eye(colours)) and abs(shift) < 0.5:
        return image_HWC
    changed = _fit(part_HWC.reshape(-1, colours).astype(np.float32) @ full.T + np.float32(shift), image_HWC.dtype)
    return _with_part(image_HWC, changed.reshape(part_HWC.shape))


def _mean(image_HWC: NDArray[Any]) -> NDArray[np.float32]:
    """The mean of each channel. Whole rows are added up first, in whole numbers: exact, and ten times as fast."""
    height, width, channels = image_HWC.shape
    row_WC = image_HWC.reshape(height, -1).sum(axis=0, dtype=np.uint64).reshape(width, channels)
    return cast("NDArray[np.float32]", (row_WC.sum(axis=0) / (height * width)).astype(np.float32))


def _colour_matrix(colours: int, spec: AugmentSpec, rng: np.random.Generator) -> NDArray[np.float32]:
    """(colours, colours): saturation mixes with the luma, hue turns the chroma plane of YIQ."""
    saturation = 1 + rng.uniform(-1, 1) * spec.saturation
    angle = 2 * np.pi * rng.uniform(-1, 1) * spec.hue
    if colours != 3:
        return np.eye(colours, dtype=np.float32)
    cos, sin = saturation * np.cos(angle), saturation * np.sin(angle)
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]], np.float32)
    return cast("NDArray[np.float32]", (np.linalg.inv(_YIQ) @ turn @ _YIQ).astype(np.float32))


def blurred(image_HWC: NDArray[Any], spec: AugmentSpec, rng: np.random.Generator) -> NDArray[Any]:
    """Perhaps a Gaussian blur with a sigma of 0.3-1.5 px."""
    chance, sigma = rng.random(), rng.uniform(0.3, 1.5)
    if chance >= spec.blur:
        return image_HWC
    import cv2

    return cv2.GaussianBlur(np.ascontiguousarray(image_HWC), (0, 0), sigma).reshape(image_HWC.shape)


def noisy(image_HWC: NDArray[Any], spec: AugmentSpec, rng: np.random.Generator) -> NDArray[Any]:
    """Perhaps Gaussian noise of up to 4 % of the value range."""
    chance, share = rng.random(), rng.uniform(0.005, 0.04)
    if chance >= spec.noise:
        return image_HWC
    noise = rng.standard_normal(image_HWC.shape, np.float32) * np.float32(share * np.iinfo(image_HWC.dtype).max)
    return _fit(image_HWC + noise, image_HWC.dtype)


def erased(image_HWC: NDArray[Any], spec: AugmentSpec, rng: np.random.Generator) -> NDArray[Any]:
    """Perhaps a rectangle of 2-20 % of the picture filled with the picture's mean."""
    chance, area, ratio = rng.random(), rng.uniform(0.02, 0.2), np.exp(rng.uniform(-1, 1))
    height, width = image_HWC.shape[:2]
    h = min(height, max(1, round(height * np.sqrt(area / ratio))))
    w = min(width, max(1, round(width * np.sqrt(area * ratio))))
    top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    if chance >= spec.erase:
        return image_HWC
    out = np.array(image_HWC)
    out[top : top + h, left : left + w] = out.mean(axis=(0, 1)).astype(out.dtype)
    return out


def _fit(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    return cast("NDArray[Any]", np.rint(values).clip(0, np.iinfo(dtype).max).astype(dtype))


def _with_part(image_HWC: NDArray[Any], part_HWC: NDArray[Any]) -> NDArray[Any]:
    colours = part_HWC.shape[2]
    return part_HWC if colours == image_HWC.shape[2] else np.concatenate([part_HWC, image_HWC[:, :, colours:]], axis=2)
