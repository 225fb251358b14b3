"""Drawing on pictures for people: labels, boxes, masks. Pillow's own font, so that nothing has to be installed."""

from __future__ import annotations

import colorsys
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from espalier.vision.channels import as_channels
from espalier.vision.resize import resize

Colour = tuple[int, int, int]


def to_rgb8(image_HWC: NDArray[Any]) -> NDArray[np.uint8]:
    """The picture as one can look at it, RGB uint8: 16 bit is stretched from its darkest to its brightest value, alpha
    lies on white, and of more than four bands the first three are shown."""
    shown_HWC = image_HWC[:, :, :3] if image_HWC.shape[2] > 4 else image_HWC
    if shown_HWC.dtype != np.uint8:
        low, high = float(shown_HWC.min()), float(shown_HWC.max())
        shown_HWC = np.rint((shown_HWC - low) * (255.0 / max(high - low, 1.0))).astype(np.uint8)
    rgb_HW3 = as_channels(shown_HWC, "rgb")
    if shown_HWC.shape[2] not in (2, 4):
        return rgb_HW3
    alpha_HW1 = shown_HWC[:, :, -1:] / 255.0
    return np.asarray(np.rint(rgb_HW3 * alpha_HW1 + 255.0 * (1 - alpha_HW1)), np.uint8)


def shrink(image_HWC: NDArray[Any], longest_px: int) -> NDArray[Any]:
    """The picture with its longer edge at most `longest_px`."""
    height, width = image_HWC.shape[:2]
    scale = longest_px / max(height, width)
    if scale >= 1:
        return image_HWC
    return resize(image_HWC, (max(1, round(height * scale)), max(1, round(width * scale))), "area")


def colour_of(number: int) -> Colour:
    """A clear colour for class `number`, the same every time; neighbours differ by the golden angle of hue."""
    red, green, blue = colorsys.hsv_to_rgb((number * 0.618034 + 0.02) % 1.0, 0.75, 0.95 - 0.25 * (number // 8 % 3))
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_label(
    image_HWC: NDArray[Any], lines: Sequence[str], *, colour: Colour = (24, 24, 24), at_xy: tuple[int, int] = (0, 0)
) -> NDArray[np.uint8]:
    """The picture with lines of text on a patch of `colour` whose top left corner is `at_xy`, RGB uint8."""
    picture = Image.fromarray(to_rgb8(image_HWC))
    _label(ImageDraw.Draw(picture, "RGBA"), "\n".join(lines), at_xy, colour, _text_px(picture.size), picture.size)
    return np.asarray(picture)


def draw_boxes(
    image_HWC: NDArray[Any], box_N4: NDArray[Any], *, texts: Sequence[str] = (), colours: Sequence[Colour] = ()
) -> NDArray[np.uint8]:
    """The picture with boxes (xyxy, its own pixels), each with its text, RGB uint8."""
    picture = Image.fromarray(to_rgb8(image_HWC))
    canvas, size_px = ImageDraw.Draw(picture, "RGBA"), _text_px(picture.size)
    width_px = max(1, round(max(picture.size) / 400))
    for n, box in enumerate(np.asarray(box_N4, np.float64).reshape(-1, 4)):
        if not np.isfinite(box).all():
            continue
        left, top, right, bottom = np.clip(box, 0, (*picture.size, *picture.size)).round().astype(int).tolist()
        colour = colours[n] if n < len(colours) else colour_of(n)
        edges = (left, top, max(left, right - 1), max(top, bottom - 1))  # Pillow draws its last pixel too
        canvas.rectangle(edges, outline=(*colour, 255), width=width_px)
        if n < len(texts):
            _label(canvas, texts[n], (left, top), colour, size_px, picture.size)
    return np.asarray(picture)


def draw_mask(
    image_HWC: NDArray[Any], mask_HW: NDArray[np.bool_], *, colour: Colour, opacity: float = 0.45
) -> NDArray[np.uint8]:
    """The picture with the mask's pixels tinted, RGB uint8."""
    rgb_HW3 = to_rgb8(image_HWC).copy()
    tinted = rgb_HW3[mask_HW] * (1 - opacity) + np.array(colour) * opacity
    rgb_HW3[mask_HW] = np.rint(tinted).astype(np.uint8)
    return rgb_HW3


def draw_classes(image_HWC: NDArray[Any], class_HW: NDArray[Any], *, opacity: float = 0.45) -> NDArray[np.uint8]:
    """The picture tinted by each pixel's class, RGB uint8."""
    colours = np.array([colour_of(n) for n in range(int(class_HW.max(initial=0)) + 1)], np.float64)
    mixed = to_rgb8(image_HWC) * (1 - opacity) + colours[class_HW] * opacity
    return np.asarray(np.rint(mixed), np.uint8)


def _text_px(size_wh: tuple[int, int]) -> int:
    """A readable size of letters for a picture of that size."""
    return int(np.clip(min(size_wh) / 24, 10, 48))


@lru_cache(maxsize=16)
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


def _label(
    canvas: ImageDraw.ImageDraw,
    text: str,
    at_xy: tuple[int, int],
    colour: Colour,
    size_px: int,
    size_wh: tuple[int, int],
) -> None:
    """Text on a patch, moved so that it stays inside the picture where it can."""
    font, gap = _font(size_px), max(2, size_px // 5)
    shown = writable(text, font)
    left, top, right, bottom = canvas.multiline_textbbox((0, 0), shown, font=font)
    width, height = right - left + 2 * gap, bottom - top + 2 * gap
    x = max(0, min(at_xy[0], size_wh[0] - round(width)))
    y = max(0, min(at_xy[1], size_wh[1] - round(height)))
    canvas.rectangle((x, y, x + width, y + height), fill=(*colour, 215))
    dark = sum(colour) > 382
    ink = (0, 0, 0, 255) if dark else (255, 255, 255, 255)
    canvas.multiline_text((x + gap - left, y + gap - top), shown, fill=ink, font=font)


def writable(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The text in letters that the font has: é becomes e, what has no near letter becomes '?'. (Pillow's own font knows
    little beyond ASCII, and draws an empty box for the rest.)"""
    return "".join(_near(c, font) for c in text)


def _near(letter: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if letter.isascii():
        return letter if letter.isprintable() or letter == "\n" else "?"
    if letter.isprintable() and bytes(font.getmask(letter)) != bytes(font.getmask("\u0378")):  # that one is no letter
        return letter
    plain = _SPELLED.get(letter) or unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return plain or "?"


_SPELLED = {"ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "œ": "oe", "ł": "l", "Ł": "L", "đ": "d", "–": "-",
            "—": "-", "×": "x", "…": "..."}  # fmt: skip
