"""A map laid over its picture, for people: legible on bright and dark pictures and to every eye.

The picture is drained of colour and dimmed, so that the only colours are the map's, and the brightest place is a marked
one. The colours are matplotlib's 'inferno' (CC0), which OpenCV holds: even in lightness, safe for colour-blind eyes,
and in order when printed grey. A line runs around the tenth of the picture that is marked most.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from espalier.explainer.frames import enlarge
from espalier.vision.draw import shrink, to_rgb8

SMALLEST_PX, LARGEST_PX = 288, 1024  # the longer side of what is drawn
MARKED_SHARE = 0.1
STRIPE_PX = 9


def overlay(image_HWC: NDArray[Any], map_HW: NDArray[np.float32], *, from_zero: bool) -> NDArray[np.uint8]:
    """The picture under its map, RGB uint8, with a scale below; stripes where the map is NaN: not seen.

    `map_HW` is in the picture's own pixels. With `from_zero` the scale begins at 0, else at the smallest value.
    """
    shown_HW3 = fitted(to_rgb8(image_HWC))
    size_hw = (shown_HW3.shape[0], shown_HW3.shape[1])
    seen_HW = enlarge(np.isfinite(map_HW).astype(np.float32), size_hw) > 0.5
    value_HW = enlarge(np.nan_to_num(map_HW), size_hw)
    low, high = scale_of(map_HW, from_zero=from_zero)
    share_HW = np.clip((value_HW - low) / (high - low), 0, 1) * seen_HW if high > low else np.zeros(size_hw, np.float32)
    drawn_HW3 = _striped(_mixed(shown_HW3, share_HW), ~seen_HW)
    return _with_scale(_outlined(drawn_HW3, _marked(share_HW, seen_HW)), low, high)


def scale_of(map_HW: NDArray[np.float32], *, from_zero: bool) -> tuple[float, float]:
    """The values of the scale's ends; equal when there is nothing to draw."""
    seen_P = map_HW[np.isfinite(map_HW)]
    if not seen_P.size:
        return 0.0, 0.0
    low, high = (0.0 if from_zero else float(seen_P.min())), float(seen_P.max())
    return low, max(low, high)


def fitted(image_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture at a size to look at: small ones enlarged by a whole number, with their pixels as they are."""
    times = -(-SMALLEST_PX // max(image_HWC.shape[:2]))
    if times > 1:
        return np.repeat(np.repeat(image_HWC, times, axis=0), times, axis=1)
    return np.asarray(shrink(image_HWC, LARGEST_PX), np.uint8)


def coloured(share_HW: NDArray[Any]) -> NDArray[np.float32]:
    """Colours (H, W, 3), 0 to 255, of values from 0 to 1."""
    import cv2

    place_HW = np.rint(255 * (0.2 + 0.8 * np.asarray(share_HW))).astype(np.uint8)  # the first fifth is all but black
    return np.asarray(cv2.applyColorMap(place_HW, cv2.COLORMAP_INFERNO)[..., ::-1], np.float32)


def _mixed(image_HW3: NDArray[np.uint8], share_HW: NDArray[Any]) -> NDArray[np.float32]:
    grey_HW = image_HW3.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    base_HW3 = np.repeat((18 + 0.6 * grey_HW)[:, :, None], 3, axis=2)
    weight_HW1 = (0.75 * np.asarray(share_HW) ** 0.7)[:, :, None]
    return np.asarray(base_HW3 * (1 - weight_HW1) + coloured(share_HW) * weight_HW1, np.float32)


def _marked(share_HW: NDArray[Any], seen_HW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The tenth of the picture that is marked most; nothing where all is alike."""
    if not seen_HW.any() or np.ptp(share_HW[seen_HW]) <= 0:
        return np.zeros_like(seen_HW)
    return np.asarray((share_HW > np.quantile(share_HW[seen_HW], 1 - MARKED_SHARE)) & seen_HW, np.bool_)


def _outlined(image_HW3: NDArray[np.float32], marked_HW: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A white line around what is marked, with a black one around that: to be seen on any ground."""
    width = max(1, round(max(marked_HW.shape) / 320))
    inside = ndimage.binary_erosion(marked_HW, iterations=width, border_value=1)
    outside = ndimage.binary_dilation(marked_HW, iterations=width)
    image_HW3[outside & ~marked_HW] = 0
    image_HW3[marked_HW & ~inside] = 255
    return image_HW3


def _striped(image_HW3: NDArray[np.float32], unseen_HW: NDArray[np.bool_]) -> NDArray[np.float32]:
    height, width = unseen_HW.shape
    stripe_HW = (np.arange(height)[:, None] + np.arange(width)) // STRIPE_PX % 2 == 0
    image_HW3[unseen_HW] *= 0.5
    image_HW3[unseen_HW & stripe_HW] += 70
    return image_HW3


def _with_scale(image_HW3: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """The picture with the colours and their values on a strip below it."""
    height, width = image_HW3.shape[:2]
    size_px = max(12, round(max(height, width) / 22))
    strip_px, gap = round(1.7 * size_px), size_px // 2
    page = Image.new("RGB", (width, height + strip_px), "white")
    page.paste(Image.fromarray(np.rint(image_HW3.clip(0, 255)).astype(np.uint8)), (0, 0))
    ink, font = ImageDraw.Draw(page), ImageFont.load_default(size_px)
    ends = ("nothing", "") if high <= low else (f"{low:.2g}", f"{high:.2g}")
    left = gap + round(ink.textlength(ends[0], font=font)) + gap
    right = width - gap - round(ink.textlength(ends[1], font=font)) - gap
    middle = height + strip_px // 2
    ink.text((gap, middle), ends[0], fill="black", font=font, anchor="lm")
    ink.text((width - gap, middle), ends[1], fill="black", font=font, anchor="rm")
    if high > low and right > left:
        bar_HW3 = coloured(np.tile(np.linspace(0, 1, right - left), (max(size_px // 2, 4), 1)))
        page.paste(Image.fromarray(bar_HW3.astype(np.uint8)), (left, middle - bar_HW3.shape[0] // 2))
    return np.asarray(page)
