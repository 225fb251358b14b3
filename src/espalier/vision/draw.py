"""Drawing on pictures for people: labels, boxes, masks. Pillow's own font, so that nothing has to be installed."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
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


CLEAR: tuple[Colour, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
"""Orange, sky blue, green, yellow, blue, vermilion, purple: told apart by colour-blind people too (Okabe and Ito 2008,
"Color universal design")."""


def colour_of(number: int) -> Colour:
    """The colour of class `number`, always the same: one of `CLEAR`, from the eighth class on darker, then paler."""
    colour, turn = CLEAR[number % len(CLEAR)], number // len(CLEAR) % 3
    if turn == 1:
        return _mixed(colour, 0, 0.4)
    return colour if turn == 0 else _mixed(colour, 255, 0.45)


def _mixed(colour: Colour, other: int, share: float) -> Colour:
    red, green, blue = (round(c * (1 - share) + other * share) for c in colour)
    return red, green, blue


def luminance(colour: Colour) -> float:
    """How bright a colour looks, 0 to 1 (WCAG 2's relative luminance)."""
    linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def draw_label(
    image_HWC: NDArray[Any], lines: Sequence[str], *, colour: Colour = (24, 24, 24), at_xy: tuple[int, int] = (0, 0)
) -> NDArray[np.uint8]:
    """The picture with lines of text on a patch of `colour` whose top left corner is `at_xy`, RGB uint8."""
    picture = Image.fromarray(to_rgb8(image_HWC))
    _label(ImageDraw.Draw(picture, "RGBA"), "\n".join(lines), at_xy, colour, _text_px(picture.size), picture.size)
    return np.asarray(picture)


def draw_list(image_HWC: NDArray[Any], lines: Sequence[tuple[str, Colour]]) -> NDArray[np.uint8]:
    """The picture with lines of text below each other, each on a patch of its colour, from the top left; RGB uint8."""
    drawn = to_rgb8(image_HWC).copy()
    write_list(drawn, lines)
    return drawn


def write_list(drawn: NDArray[np.uint8], lines: Sequence[tuple[str, Colour]]) -> None:
    """Writes those lines into an RGB uint8 picture."""
    size_wh = (drawn.shape[1], drawn.shape[0])
    size_px = _text_px(size_wh)
    corner = Image.fromarray(drawn[: round((1.7 * len(lines) + 1) * size_px)])  # a huge picture is not copied
    canvas = ImageDraw.Draw(corner, "RGBA")
    for n, (text, colour) in enumerate(lines):
        _label(canvas, text, (0, round(1.7 * n * size_px)), colour, size_px, size_wh)
    drawn[: corner.size[1]] = np.asarray(corner)


def draw_boxes(
    image_HWC: NDArray[Any],
    box_N4: NDArray[Any],
    *,
    texts: Sequence[str] = (),
    colours: Sequence[Colour] = (),
    dashed: Sequence[bool] = (),
) -> NDArray[np.uint8]:
    """The picture with boxes (xyxy, its own pixels), each with its text, RGB uint8.

    Lines are thin, grow with the picture, and have a seam of black or white so that they show on any background. Later
    boxes lie on top. Texts stand above their box, below it or in it, where they hide no other text.
    """
    picture = Image.fromarray(to_rgb8(image_HWC))
    canvas, size_px = ImageDraw.Draw(picture, "RGBA"), _text_px(picture.size)
    shown = [(n, _edges(box, picture.size)) for n, box in enumerate(np.asarray(box_N4, np.float64).reshape(-1, 4))]
    for n, edges in shown:
        if edges is not None:
            colour = colours[n] if n < len(colours) else colour_of(n)
            _outline(canvas, edges, colour, line_px(picture.size), dashed=n < len(dashed) and dashed[n])
    _write(canvas, shown, texts, colours, size_px, picture.size)
    return np.asarray(picture)


def draw_texts(
    image_HWC: NDArray[Any], box_N4: NDArray[Any], texts: Sequence[str], *, colours: Sequence[Colour] = ()
) -> NDArray[np.uint8]:
    """The picture with the text of each box where `draw_boxes` writes it, without the boxes; RGB uint8."""
    picture = Image.fromarray(to_rgb8(image_HWC))
    shown = [(n, _edges(box, picture.size)) for n, box in enumerate(np.asarray(box_N4, np.float64).reshape(-1, 4))]
    _write(ImageDraw.Draw(picture, "RGBA"), shown, texts, colours, _text_px(picture.size), picture.size)
    return np.asarray(picture)


Edges = tuple[int, int, int, int]


def _write(
    canvas: ImageDraw.ImageDraw,
    shown: Sequence[tuple[int, Edges | None]],
    texts: Sequence[str],
    colours: Sequence[Colour],
    size_px: int,
    size_wh: tuple[int, int],
) -> None:
    """The texts of boxes; later ones choose their place first, and lie on top."""
    placed: list[tuple[str, Colour, Edges]] = []
    for n, edges in reversed(shown):
        if edges is not None and n < len(texts) and texts[n]:
            colour = colours[n] if n < len(colours) else colour_of(n)
            patch = _place(canvas, texts[n], edges, size_px, size_wh, [taken for _, _, taken in placed])
            placed.append((texts[n], colour, patch))
    for text, colour, patch in reversed(placed):
        _label(canvas, text, patch[:2], colour, size_px, size_wh)


def line_px(size_wh: tuple[int, int]) -> int:
    """How thick a line is on a picture of that size."""
    return max(1, round(max(size_wh) / 256))


def _edges(box: NDArray[np.float64], size_wh: tuple[int, int]) -> Edges | None:
    """First and last pixels (Pillow draws its last pixel too); None for a box that is not finite."""
    if not np.isfinite(box).all():
        return None
    left, top, right, bottom = np.clip(box, 0, (*size_wh, *size_wh)).round().astype(int).tolist()
    return left, top, max(left, right - 1), max(top, bottom - 1)


def _place(
    canvas: ImageDraw.ImageDraw,
    text: str,
    edges: Edges,
    size_px: int,
    size_wh: tuple[int, int],
    taken: Sequence[Edges],
) -> Edges:
    """Where a box's text goes: the first place that hides no other text, else above the box."""
    width, height = _patch_px(canvas, text, size_px)
    left, top, right, bottom = edges
    wanted = [
        (left, top - height),
        (left, bottom + 1),
        (left, top),
        (right + 1 - width, top - height),
        (right + 1, top),
    ]
    fitted = [(max(0, min(x, size_wh[0] - width)), y) for x, y in wanted if 0 <= y <= size_wh[1] - height] or [
        (max(0, min(left, size_wh[0] - width)), max(0, min(top, size_wh[1] - height)))
    ]
    patches = [(x, y, x + width, y + height) for x, y in fitted]
    return next((patch for patch in patches if not any(_meet(patch, other) for other in taken)), patches[0])


def _meet(a: Edges, b: Edges) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _outline(canvas: ImageDraw.ImageDraw, edges: Edges, colour: Colour, width_px: int, *, dashed: bool) -> None:
    """A rectangle of `width_px`, just inside its edges, and a seam within it where there is room; dashes lie on it."""
    left, top, right, bottom = edges
    seam = (0, 0, 0, 150) if luminance(colour) > 0.18 else (255, 255, 255, 170)
    inner = (left + width_px, top + width_px, right - width_px, bottom - width_px)
    if min(inner[2] - inner[0], inner[3] - inner[1]) > 2 * width_px:
        canvas.rectangle(inner, outline=seam, width=max(1, width_px // 2))
    if not dashed:
        canvas.rectangle(edges, outline=(*colour, 255), width=width_px)
        return
    canvas.rectangle(edges, outline=(*seam[:3], 255), width=width_px)
    for dash in _dashes(edges, width_px):
        canvas.rectangle(dash, fill=(*colour, 255))


def _dashes(edges: Edges, width_px: int) -> Iterator[Edges]:
    """Along all four sides."""
    left, top, right, bottom = edges
    dash = 4 * width_px
    for x in range(left, right + 1, 2 * dash):
        end = min(x + dash - 1, right)
        yield x, top, end, min(top + width_px - 1, bottom)
        yield x, max(bottom - width_px + 1, top), end, bottom
    for y in range(top, bottom + 1, 2 * dash):
        end = min(y + dash - 1, bottom)
        yield left, y, min(left + width_px - 1, right), end
        yield max(right - width_px + 1, left), y, right, end


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
    return int(np.clip(min(size_wh) / 28, 10, 240))


@lru_cache(maxsize=16)
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


def _patch_px(canvas: ImageDraw.ImageDraw, text: str, size_px: int) -> tuple[int, int]:
    """(width, height) of a text with its patch."""
    font, gap = _font(size_px), _gap(size_px)
    left, top, right, bottom = canvas.multiline_textbbox((0, 0), writable(text, font), font=font)
    return round(right - left + 2 * gap), round(bottom - top + 2 * gap)


def _gap(size_px: int) -> int:
    return max(2, size_px // 5)


def _label(
    canvas: ImageDraw.ImageDraw,
    text: str,
    at_xy: tuple[int, int],
    colour: Colour,
    size_px: int,
    size_wh: tuple[int, int],
) -> None:
    """Text on a patch, moved so that it stays inside the picture where it can."""
    font, gap = _font(size_px), _gap(size_px)
    shown = writable(text, font)
    left, top, _, _ = canvas.multiline_textbbox((0, 0), shown, font=font)
    width, height = _patch_px(canvas, text, size_px)
    x = max(0, min(at_xy[0], size_wh[0] - width))
    y = max(0, min(at_xy[1], size_wh[1] - height))
    canvas.rectangle((x, y, x + width, y + height), fill=(*colour, 230))
    # Black on a colour of luminance 0.18 has the same contrast as white on it, 4.6 to 1; elsewhere the better one more.
    ink = (0, 0, 0, 255) if luminance(colour) > 0.18 else (255, 255, 255, 255)
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
