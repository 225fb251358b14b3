"""Small pictures for a page: re-encoded, so that nothing of a photograph's metadata (place, camera) travels along."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from espalier.vision.resize import resize


def jpeg(image_HWC: NDArray[Any], *, longest_px: int) -> bytes:
    """A JPEG file of an upright uint8 or uint16 picture (grey, RGB, RGBA; of more bands the first three).

    Never enlarged; its longer side has at most `longest_px`.
    """
    image_HWC = _eight_bit(image_HWC)
    height, width = image_HWC.shape[:2]
    scale = min(1.0, longest_px / max(height, width))
    size_hw = (max(1, round(height * scale)), max(1, round(width * scale)))
    small_HWC = image_HWC if scale == 1.0 else resize(image_HWC, size_hw, "pillow_bilinear")
    out = io.BytesIO()
    Image.fromarray(_rgb(small_HWC)).save(out, "JPEG", quality=85, optimize=True)
    return out.getvalue()


def _eight_bit(image_HWC: NDArray[Any]) -> NDArray[np.uint8]:
    image_HWC = image_HWC[:, :, None] if image_HWC.ndim == 2 else image_HWC
    return np.ascontiguousarray(image_HWC >> 8 if image_HWC.dtype == np.uint16 else image_HWC, dtype=np.uint8)


def _rgb(image_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey is repeated, transparency lies on white."""
    bands = image_HWC.shape[2]
    if bands < 3:
        return np.repeat(image_HWC[:, :, :1], 3, axis=2)
    if bands == 4:
        alpha = image_HWC[:, :, 3:].astype(np.float32) / 255
        return np.asarray(image_HWC[:, :, :3] * alpha + 255 * (1 - alpha) + 0.5, np.uint8)
    return np.ascontiguousarray(image_HWC[:, :, :3])
