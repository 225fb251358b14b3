"""Digital: compression, coarse pixels, and a picture that was bent."""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from espalier.vision.corruptions.filters import gaussian, warp
from espalier.vision.corruptions.values import as_eight_bit, from_eight_bit, light

LARGEST_JPEG_PX = 64_000  # the format ends at 65,535; a multiple of its 16 px blocks
MOST_JPEG_PIXELS = 64_000_000  # Pillow takes a file of many more for an attack, and does not read it
ELASTIC_PX = tuple(250 * share for share in (0.05, 0.065, 0.085, 0.1, 0.12))
ELASTIC_STD_PER_PX = 0.005 / math.sqrt(3) / (2 * math.sqrt(math.pi) * 0.01)
"""The bend's standard deviation for each px of its strength: uniform noise of 0.005 sides, smoothed by 0.01 sides."""

ELASTIC_LIMIT = 4.0


def jpeg_compression(image_HWC: NDArray[Any], severity: int, rng: np.random.Generator) -> NDArray[Any]:
    """Saved as JPEG and read again. The format knows 8 bit, and RGB or one band: bands that are not RGB go alone."""
    quality = (25, 18, 15, 10, 7)[severity - 1]
    eight_bit = as_eight_bit(image_HWC)
    if eight_bit.shape[2] == 3:
        return from_eight_bit(_through_jpeg(eight_bit, quality), image_HWC.dtype)
    bands = [_through_jpeg(eight_bit[:, :, c], quality) for c in range(eight_bit.shape[2])]
    return from_eight_bit(np.stack(bands, axis=2), image_HWC.dtype)


def pixelate(image_HWC: NDArray[Any], severity: int, rng: np.random.Generator) -> NDArray[Any]:
    """Fewer, larger pixels."""
    share = (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1]
    height, width = image_HWC.shape[:2]
    small_wh = max(1, int(width * share)), max(1, int(height * share))
    if image_HWC.dtype == np.uint8 and image_HWC.shape[2] == 3:
        return _coarse(image_HWC, small_wh)
    bands = [_coarse(image_HWC[:, :, c], small_wh) for c in range(image_HWC.shape[2])]
    return np.stack(bands, axis=2)


def elastic_transform(image_HWC: NDArray[Any], severity: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Bent like rubber, each place by a few px: see `elastic_reach_px`."""
    height, width = image_HWC.shape[:2]
    strength, most = ELASTIC_PX[severity - 1], 0.005 * math.sqrt(height * width)
    noise_HW2 = rng.uniform(-most, most, (height, width, 2)).astype(np.float32)
    smooth_HW2 = gaussian(noise_HW2, (0.01 * height, 0.01 * width), truncate=3.0, border="reflect")
    reach = np.float32(elastic_reach_px(severity))
    y_HW, x_HW = np.clip(smooth_HW2 * np.float32(strength), -reach, reach).transpose(2, 0, 1)
    y_HW = np.ascontiguousarray(y_HW + np.arange(height, dtype=np.float32)[:, None])
    x_HW = np.ascontiguousarray(x_HW + np.arange(width, dtype=np.float32)[None])
    return warp(light(image_HWC), y_HW, x_HW, border="reflect")


def elastic_reach_px(severity: int) -> float:
    """The furthest that elastic_transform moves a pixel along either axis: four standard deviations."""
    return ELASTIC_LIMIT * ELASTIC_STD_PER_PX * ELASTIC_PX[severity - 1]


def _through_jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    rows = MOST_JPEG_PIXELS // min(image.shape[1], LARGEST_JPEG_PX) // 16 * 16
    for axis, most in ((1, LARGEST_JPEG_PX), (0, min(LARGEST_JPEG_PX, max(16, rows)))):
        if image.shape[axis] > most:
            parts = np.split(image, range(most, image.shape[axis], most), axis=axis)
            return np.concatenate([_through_jpeg(part, quality) for part in parts], axis=axis)
    file = BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "JPEG", quality=quality)
    with Image.open(file) as saved:
        return np.asarray(saved)


def _coarse(image: NDArray[Any], small_wh: tuple[int, int]) -> NDArray[Any]:
    """Shrunk by area and enlarged by repetition; 16 bit through Pillow's float path."""
    whole = np.ascontiguousarray(image)
    picture = Image.fromarray(whole if whole.dtype == np.uint8 else whole.astype(np.float32))
    small = picture.resize(small_wh, Image.Resampling.BOX)
    large = np.asarray(small.resize((image.shape[1], image.shape[0]), Image.Resampling.NEAREST))
    return large if large.dtype == image.dtype else np.rint(large).astype(image.dtype)
