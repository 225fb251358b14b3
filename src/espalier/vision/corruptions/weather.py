"""Weather: snow, frost and fog before the lens, and spatters of water or mud on it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.vision.corruptions import ice
from espalier.vision.corruptions.blur import moved, zoomed
from espalier.vision.corruptions.filters import enlarged, gaussian
from espalier.vision.corruptions.values import grey, light, tint

LARGEST_FOG_PX = 4096  # the side of a height map; larger pictures get it enlarged
_WATER, _MUD = (175 / 255, 238 / 255, 238 / 255), (63 / 255, 42 / 255, 20 / 255)


def fog(image_HWC: NDArray[Any], severity: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Drifts of white, the brightest value of the picture kept."""
    thickness, decay = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[severity - 1]
    image = light(image_HWC)
    brightest = float(image.max())
    drifts_HW1 = _drifts((image.shape[0], image.shape[1]), decay, rng)
    return (image + np.float32(thickness) * drifts_HW1) * np.float32(brightest / (brightest + thickness))


def frost(image_HWC: NDArray[Any], severity: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Seen through a window with ice crystals."""
    kept, iced = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[severity - 1]
    pane_HWC = ice.pane((image_HWC.shape[0], image_HWC.shape[1]), image_HWC.shape[2], rng)
    return np.float32(kept) * light(image_HWC) + np.float32(iced) * pane_HWC


def snow(image_HWC: NDArray[Any], severity: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Flakes that fall in two directions before a picture that whitens."""
    mean, std, zoom, least, radius_px, sigma, kept = (
        (0.1, 0.3, 3.0, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2.0, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4.0, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )[severity - 1]
    image = light(image_HWC)
    drawn_HW1 = rng.standard_normal((*image.shape[:2], 1), dtype=np.float32) * np.float32(std) + np.float32(mean)
    flakes_HW1 = zoomed(drawn_HW1, zoom)
    flakes_HW1 = np.clip(np.where(flakes_HW1 < least, np.float32(0), flakes_HW1), 0, 1)
    falling_HW1 = moved(flakes_HW1, radius_px, sigma, rng.uniform(-135, -45))
    whiter = np.maximum(image, grey(image) * np.float32(1.5) + np.float32(0.5))
    whitened: NDArray[np.float32] = np.float32(kept) * image + np.float32(1 - kept) * whiter
    return whitened + falling_HW1 + falling_HW1[::-1, ::-1]


def spatter(image_HWC: NDArray[Any], severity: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Drops of water on the lens; of mud at severities 4 and 5."""
    mean, std, sigma, least, strength = (
        (0.65, 0.3, 4.0, 0.69, 0.6),
        (0.65, 0.3, 3.0, 0.68, 0.6),
        (0.65, 0.3, 2.0, 0.68, 0.5),
        (0.65, 0.3, 1.0, 0.65, 1.5),
        (0.67, 0.4, 1.0, 0.65, 1.5),
    )[severity - 1]
    image = light(image_HWC)
    drawn_HW1 = rng.standard_normal((*image.shape[:2], 1), dtype=np.float32) * np.float32(std) + np.float32(mean)
    liquid_HW1 = gaussian(drawn_HW1, sigma, border="nearest")
    if severity >= 4:
        covered_HW1 = gaussian((liquid_HW1 > least).astype(np.float32), strength, border="nearest")
        covered_HW1[covered_HW1 < 0.8] = 0
        return image * (1 - covered_HW1) + tint(_MUD, image.shape[2]) * covered_HW1
    drops_HW1 = _drops(np.where(liquid_HW1 < least, 0, liquid_HW1)[:, :, 0]) * np.float32(strength)
    return image + drops_HW1[:, :, None] * tint(_WATER, image.shape[2])


def _drifts(size_hw: tuple[int, int], decay: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """(H, W, 1) heights 0-1. Beyond LARGEST_FOG_PX a smaller map is enlarged."""
    longest = max(size_hw)
    times = max(1, math.ceil(longest / LARGEST_FOG_PX))
    small_hw = math.ceil(size_hw[0] / times), math.ceil(size_hw[1] / times)
    side = 2 ** max(1, (max(small_hw) - 1).bit_length())
    found_HW1 = np.ascontiguousarray(plasma(side, decay, rng)[: small_hw[0], : small_hw[1], None])
    return found_HW1 if times == 1 else enlarged(found_HW1, size_hw)


def plasma(side: int, decay: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """(side, side) a fractal height map of 0-1 by the diamond-square algorithm; `side` is a power of two."""
    heights = np.zeros((side, side), np.float32)
    step, wobble = side, 100.0
    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        rows = corners + np.roll(corners, -1, axis=0)
        heights[half::step, half::step] = _wobbled(rows + np.roll(rows, -1, axis=1), wobble, rng)
        middles = heights[half::step, half::step]
        across = middles + np.roll(middles, 1, axis=0) + corners + np.roll(corners, -1, axis=1)
        heights[::step, half::step] = _wobbled(across, wobble, rng)
        down = middles + np.roll(middles, 1, axis=1) + corners + np.roll(corners, -1, axis=0)
        heights[half::step, ::step] = _wobbled(down, wobble, rng)
        step, wobble = half, wobble / decay
    heights -= heights.min()
    return heights / max(float(heights.max()), 1e-12)


def _wobbled(sum_of_four: NDArray[np.float32], wobble: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """The mean of four, moved by up to wobble² (so the published code has it)."""
    drawn = rng.random(sum_of_four.shape, dtype=np.float32)
    return sum_of_four * np.float32(0.25) + (drawn * 2 - 1) * np.float32(wobble * wobble)


def _drops(liquid_HW: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) how much light each drop adds, 0-1, with bright and dark rims."""
    import cv2

    liquid = np.clip(liquid_HW * 255, 0, 255).astype(np.uint8)
    depth = cv2.distanceTransform(255 - cv2.Canny(liquid, 50, 150), cv2.DIST_L2, 5)
    rims = cv2.equalizeHist(cv2.blur(np.minimum(depth, 20), (3, 3)).astype(np.uint8))
    relief = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)
    lit = cv2.blur(cv2.filter2D(rims, cv2.CV_8U, relief), (3, 3)).astype(np.float32) * liquid
    return np.asarray(lit / max(float(lit.max()), 1e-6), np.float32)
