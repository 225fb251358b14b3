"""Blur: out of focus, through frosted glass, moved or zoomed while the shutter was open."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.vision.corruptions.filters import correlate, gaussian, warp
from espalier.vision.corruptions.values import light

_ZOOMS = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))


def gaussian_blur(image_HWC: NDArray[Any], severity: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Gaussian blur of 1 to 6 px."""
    return gaussian(light(image_HWC), (1.0, 2.0, 3.0, 4.0, 6.0)[severity - 1], border="nearest")


def defocus_blur(image_HWC: NDArray[Any], severity: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Each point a disc."""
    radius_px, soft_px = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[severity - 1]
    kernel_KK = _disc(radius_px, soft_px)
    middle = kernel_KK.shape[0] // 2
    return correlate(light(image_HWC), kernel_KK, (middle, middle), border="mirror")


def glass_blur(image_HWC: NDArray[Any], severity: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Blurred, each pixel taken from a neighbour up to `reach_px` away, and blurred again."""
    sigma, reach_px, rounds = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[severity - 1]
    blurred = gaussian(light(image_HWC), sigma, border="nearest")
    for _ in range(rounds):
        step_HW2 = rng.integers(-reach_px, reach_px, (*image_HWC.shape[:2], 2), dtype=np.int8)
        blurred = shuffled(blurred, step_HW2, reach_px)
    return gaussian(blurred, sigma, border="nearest")


def motion_blur(image_HWC: NDArray[Any], severity: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """The camera moved along a line within 45° of the horizontal."""
    radius_px, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[severity - 1]
    return moved(light(image_HWC), radius_px, sigma, rng.uniform(-45, 45))


def zoom_blur(image_HWC: NDArray[Any], severity: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """The mean of the picture and of itself ever more enlarged."""
    end, step = _ZOOMS[severity - 1]
    factors = np.arange(1, end, step)
    image = light(image_HWC)
    total = image.copy()
    for factor in factors:
        total += zoomed(image, float(factor))
    return total * np.float32(1 / (len(factors) + 1))


def zoomed(image_HWC: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """The middle of the picture enlarged to its size, corner pixels on corner pixels."""
    height, width = image_HWC.shape[:2]
    y_H, x_W = _zoomed_places(height, factor), _zoomed_places(width, factor)
    y_HW, x_HW = np.repeat(y_H[:, None], width, axis=1), np.repeat(x_W[None], height, axis=0)
    return warp(image_HWC, y_HW, x_HW, border="nearest")


def moved(image_HWC: NDArray[np.float32], radius_px: int, sigma: float, angle_deg: float) -> NDArray[np.float32]:
    """The picture smeared along a line that fades like half a bell curve."""
    kernel_HW, anchor_yx = _trail(2 * radius_px + 1, sigma, math.radians(angle_deg))
    return correlate(image_HWC, kernel_HW, anchor_yx, border="nearest")


def shuffled(image_HWC: NDArray[np.float32], step_HW2: NDArray[np.int8], reach_px: int) -> NDArray[np.float32]:
    """Each pixel replaced by the one `step_HW2` away, from the last to the first, edges left alone.

    In that order a pixel that was replaced hands on what it got. (The published code means to swap two pixels, but
    assigns views, which copies one over the other; the data sets were made with that, so this is the corruption.)
    Following the chain of such replacements to its end gives the same picture as the loop, at once.
    """
    height, width, bands = image_HWC.shape
    pixels = height * width
    row_HW, column_HW = np.divmod(np.arange(pixels, dtype=np.int32).reshape(height, width), np.int32(width))
    inside_HW = (row_HW > reach_px) & (row_HW <= height - reach_px) & (column_HW > reach_px)
    inside_HW &= column_HW <= width - reach_px
    own = np.arange(pixels, dtype=np.int32).reshape(height, width)
    away = step_HW2[:, :, 0].astype(np.int32) * np.int32(width) + step_HW2[:, :, 1]
    source = np.where(inside_HW, own + away, own).ravel()
    # a source further on was replaced before: go on from there; any other is still as it was: the end, marked by ~
    goes_on = (source > own.ravel()) & inside_HW.ravel()[source]
    following = np.where(goes_on, source, ~source)
    while (open_ := np.flatnonzero(following >= 0)).size:
        following[open_] = following[following[open_]]
    return image_HWC.reshape(pixels, bands)[~following].reshape(height, width, bands)


@lru_cache(16)
def _disc(radius_px: int, soft_px: float) -> NDArray[np.float32]:
    """(K, K) a disc that sums to 1, its rim softened."""
    import cv2

    half = max(8, radius_px)
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    disc = ((x**2 + y**2) <= radius_px**2).astype(np.float32)
    side = 3 if radius_px <= 8 else 5
    soft = cv2.GaussianBlur(disc / disc.sum(), (side, side), sigmaX=soft_px)
    empty = next(i for i in range(half) if soft[i].any())
    return np.asarray(soft[empty : soft.shape[0] - empty, empty : soft.shape[1] - empty], np.float32)


def _trail(width_px: int, sigma: float, angle: float) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """A kernel with the line's weights, and the pixel's own place in it."""
    weight = np.exp(-(np.arange(width_px) ** 2) / (2 * sigma**2))
    weight /= weight.sum()
    steps = np.arange(width_px)
    y, x = (np.ceil(steps * part - 0.5).astype(int) for part in (math.sin(angle), math.cos(angle)))
    kernel_HW = np.zeros((np.ptp(y) + 1, np.ptp(x) + 1), np.float32)
    np.add.at(kernel_HW, (y - y.min(), x - x.min()), weight)
    return kernel_HW, (-int(y.min()), -int(x.min()))


def _zoomed_places(length: int, factor: float) -> NDArray[np.float32]:
    """(length,) where each pixel of the enlarged middle lies in the picture."""
    kept = math.ceil(length / factor)
    grown = max(round(kept * factor), 2)
    return np.float32((length - kept) // 2) + np.arange(length, dtype=np.float32) * np.float32((kept - 1) / (grown - 1))
