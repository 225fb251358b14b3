"""The picture with its answer written below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from espalier.tasks.classification.prediction import Classification

LEGIBLE_PX = 160  # a smaller picture is enlarged by a whole number before it is written on
LINE_SHARE = 14  # a text line is the picture's shorter side over this


def draw(image_HWC: NDArray[Any], prediction: Classification, classes: Sequence[str]) -> NDArray[np.uint8]:
    """The picture, RGB uint8, with a strip below that says the answer. Small pictures come enlarged."""
    image = visible(image_HWC)
    times = -(-LEGIBLE_PX // min(image.size))
    if times > 1:
        image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    size_px = max(12, min(image.size) // LINE_SHARE)
    font = ImageFont.load_default(size_px)
    strip_px = round(1.6 * size_px)
    page = Image.new("RGB", (image.width, image.height + strip_px), "white")
    page.paste(image, (0, 0))
    text = _short(prediction.label(classes), font, image.width - size_px)
    ImageDraw.Draw(page).text((size_px // 2, image.height + strip_px // 8), text, fill="black", font=font)
    return np.asarray(page)


def visible(image_HWC: NDArray[Any]) -> Image.Image:
    """Any picture as 8-bit RGB: grey is repeated, alpha laid on white, 16 bit stretched to its range."""
    values = np.atleast_3d(np.asarray(image_HWC))
    if values.dtype != np.uint8:
        low, high = float(values.min()), float(values.max())
        values = np.round((values.astype(np.float32) - low) * (255.0 / max(high - low, 1.0))).astype(np.uint8)
    if values.shape[2] == 4:
        alpha = values[..., 3:].astype(np.float32) / 255.0
        values = np.round(values[..., :3] * alpha + 255.0 * (1 - alpha)).astype(np.uint8)
    if values.shape[2] < 3:
        values = np.repeat(values[..., :1], 3, axis=2)
    return Image.fromarray(np.ascontiguousarray(values[..., :3]))


def _short(text: str, font: Any, width_px: float) -> str:
    """The text, cut so that it fits."""
    if font.getlength(text) <= width_px:
        return text
    while text and font.getlength(text + "…") > width_px:
        text = text[:-1]
    return text + "…"
