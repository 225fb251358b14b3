"""Masks as numpy's own files: whole numbers of any width, and yes or no, as 8 or 16 bit."""

from __future__ import annotations

import io
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from espalier.errors import ImageError, Problem
from espalier.vision.header import PictureInfo, npy_header, refuse_large

MOST = 65_535


def read_mask_array(file: IO[bytes], max_pixels: int) -> NDArray[Any]:
    """(H, W, bands) uint8, or uint16 where a value is above 255. Raises ImageError for what is no whole number."""
    shape, dtype = npy_header(file)
    bands = shape[2] if len(shape) == 3 else 1
    if len(shape) not in (2, 3) or bands not in (1, 2, 3, 4):
        fix = "scores of classes: save scores.argmax(axis).astype(np.uint8)"
        raise ImageError(Problem("", f"an array of shape {shape} is no mask", "(height, width)", fix))
    if dtype.kind not in "biu":
        fix = "save scores.argmax(axis).astype(np.uint8), or mask.astype(np.uint8) where the floats are ids"
        what = f"a mask of {dtype} says no class for each pixel"
        raise ImageError(Problem("", what, "class ids as whole numbers, or bool", fix))
    size = file.seek(0, io.SEEK_END)
    refuse_large(PictureInfo((shape[0], shape[1]), bands, 16, "bands", "NPY"), "bands", size, max_pixels)
    file.seek(0)
    return _narrow(np.load(io.BytesIO(file.read()), allow_pickle=False)).reshape(shape[0], shape[1], bands)


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    """The values in 8 bit where they fit, else in 16; of 16 bit as it was, since its ignored value is another."""
    if values.dtype.kind == "b" or values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    if values.dtype.newbyteorder("=") == np.uint16:
        return values.astype(np.uint16, copy=False)
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low < 0 or high > MOST:
        what = f"the mask has the value {low if low < 0 else high}"
        fix = "give pixels without a class the value 255, and the others the numbers of their classes"
        raise ImageError(Problem("", what, f"class ids from 0 to {MOST}", fix))
    return values.astype(np.uint8 if high <= 255 else np.uint16)
