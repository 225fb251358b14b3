"""Pillow's pixels as an array, strip by strip: of a huge picture nothing is held beside itself and the array."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_PIXELS_AT_ONCE = 1 << 24


def as_array(picture: Image.Image, mode: str) -> NDArray[Any]:
    """The pixels in a mode of Pillow's, HW or HWC. Whether the picture is too large has to be known by then.

    `np.asarray` of a whole picture holds its bytes three times: as Pillow does, packed, and joined.
    """
    with _LIFTED:  # TIFFs above it, which data.max_pixels allows, would be refused as they decode
        picture.load()
    width, height = picture.size
    step = max(1, _PIXELS_AT_ONCE // max(1, width))
    if height <= step:
        return _converted(picture, mode)
    first = _strip(picture, mode, 0, step)
    pixels = np.empty((height, *first.shape[1:]), first.dtype)
    pixels[:step] = first
    for top in range(step, height, step):
        pixels[top : top + step] = _strip(picture, mode, top, step)
    return pixels


def _strip(picture: Image.Image, mode: str, top: int, rows: int) -> NDArray[Any]:
    width, height = picture.size
    return _converted(picture.crop((0, top, width, min(height, top + rows))), mode)


def _converted(picture: Image.Image, mode: str) -> NDArray[Any]:
    return np.asarray(picture if picture.mode == mode else picture.convert(mode))


class _Limit:
    """Pillow's own limit, one for all threads of the process: whoever leaves last puts it back."""

    def __init__(self) -> None:
        self._lock, self._inside, self._limit = threading.Lock(), 0, Image.MAX_IMAGE_PIXELS

    def __enter__(self) -> None:
        with self._lock:
            self._limit = self._limit if self._inside else Image.MAX_IMAGE_PIXELS
            self._inside += 1
            Image.MAX_IMAGE_PIXELS = None

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                Image.MAX_IMAGE_PIXELS = self._limit


_LIFTED = _Limit()
