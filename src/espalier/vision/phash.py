"""A perceptual hash: near-duplicate pictures (scaled, recompressed, slightly toned) differ in few of its 64 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.vision.channels import as_channels
from espalier.vision.resize import resize

_FLAT = 2.0
"""Pictures whose 72 cells differ by less (of 255) show nothing that a hash could tell apart."""


def difference_hash(image_HWC: NDArray[Any]) -> np.uint64:
    """64 bits, row by row: is each cell of the picture, shrunk to 9 × 8 grey cells, darker than its right neighbour?

    Follows N. Krawetz's "dHash" (2013).
    """
    cells_HW = _cells(image_HWC)
    return np.uint64(int.from_bytes(np.packbits(cells_HW[:, 1:] > cells_HW[:, :-1]).tobytes(), "big"))


def is_flat(image_HWC: NDArray[Any]) -> bool:
    """Has it nothing to tell it apart (a blank page, a black frame)? Its hash then says nothing about duplicates."""
    return bool(np.ptp(_cells(image_HWC)) < _FLAT)


def hamming(a: NDArray[np.uint64] | np.uint64, b: NDArray[np.uint64] | np.uint64) -> NDArray[np.int64]:
    """Number of differing bits of hashes, 0 to 64, broadcast like any arithmetic."""
    differing = np.ascontiguousarray(np.bitwise_xor(a, b)[..., None])
    return np.asarray(_ONES[differing.view(np.uint8)].sum(axis=-1))


_ONES = np.array([n.bit_count() for n in range(256)], np.int64)


def _cells(image_HWC: NDArray[Any]) -> NDArray[np.float64]:
    """The picture as 8 × 9 grey cells of the range 0-255."""
    image_HWC = image_HWC[:, :, :3] if image_HWC.shape[2] > 4 else image_HWC
    grey_HW1 = as_channels(image_HWC, "grey")
    # first with 16 bit so that rounding does not decide between neighbours
    deep = grey_HW1.astype(np.uint16) * np.uint16(257) if grey_HW1.dtype == np.uint8 else grey_HW1
    return resize(deep, (8, 9), "area")[:, :, 0].astype(np.float64) / 257
