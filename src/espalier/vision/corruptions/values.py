"""Bit depths and colours: pictures as shares of full light and back, brightness and colour of any number of bands."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LUMA = (0.299, 0.587, 0.114)


def light(image_HWC: NDArray[Any]) -> NDArray[np.float32]:
    """The picture as shares 0-1 of its depth's full range."""
    return image_HWC.astype(np.float32) * np.float32(1 / np.iinfo(image_HWC.dtype).max)


def as_depth(light_HWC: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Shares of full light as whole numbers of that depth: cut at its ends, rounded once."""
    full = np.iinfo(dtype).max
    scaled = light_HWC * np.float32(full)
    np.clip(scaled, 0, full, out=scaled)
    return np.asarray(np.rint(scaled, out=scaled), dtype)


def as_eight_bit(image_HWC: NDArray[Any]) -> NDArray[np.uint8]:
    """The picture in 8 bit."""
    return (
        image_HWC if image_HWC.dtype == np.uint8 else np.asarray((image_HWC.astype(np.uint32) + 128) // 257, np.uint8)
    )


def from_eight_bit(image_HWC: NDArray[np.uint8], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The 8-bit picture at another depth, white staying white."""
    return image_HWC if dtype == np.uint8 else image_HWC.astype(dtype) * np.asarray(257, dtype)


def grey(light_HWC: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W, 1) luma of RGB; the mean of any other bands."""
    if light_HWC.shape[2] != 3:
        return np.asarray(light_HWC.mean(axis=2, keepdims=True), np.float32)
    return np.asarray(light_HWC @ np.array(LUMA, np.float32), np.float32)[:, :, None]


def tint(rgb: tuple[float, float, float], bands: int) -> NDArray[np.float32]:
    """(bands,) a colour of 0-1 as those bands see it: RGB as it is, all others its luma."""
    colour = np.array(rgb, np.float32)
    return colour if bands == 3 else np.full(bands, float(colour @ np.array(LUMA)), np.float32)
