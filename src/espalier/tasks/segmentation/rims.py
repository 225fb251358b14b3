"""The rims of all classes of a map at once: the pixels no further than `reach` from one of another class.

Every pixel has one class, so it lies on its class's rim where the square around it holds another one. Classes get codes
of equally many bits: none is within another, so that of a square the union of its codes is more than a pixel's own
exactly where it holds two. Pixels of which nothing is known have the code 0: no rim runs along them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.vision.class_maps import ClassMap

_WIDTHS = (8, 16, 32)  # bits of a code: enough for 70, 12,870 and 600 million classes


class Room:
    """Arrays to work in, kept from one picture to the next: new memory is what costs most."""

    def __init__(self) -> None:
        self._held: dict[str, NDArray[Any]] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """An array with anything in it, the one of last time if it fits."""
        held = self._held.get(name)
        if held is None or held.shape != shape or held.dtype != dtype:
            held = self._held[name] = np.empty(shape, dtype)
        return held


def code_table(classes: int, values: int) -> NDArray[Any]:
    """(values,) the code of each value of a map; 0 for those that are no class."""
    width = next(width for width in _WIDTHS if math.comb(width, width // 2) >= classes)
    codes = np.fromiter(_codes(classes, width), np.dtype(f"u{width // 8}"), classes)
    return np.pad(codes, (0, max(0, values - classes)))[:values]


def _codes(classes: int, width: int) -> Iterator[int]:
    return (sum(1 << bit for bit in bits) for bits in islice(combinations(range(width), width // 2), classes))


def coded(class_HW: ClassMap, table_V: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
    """(H, W) the code of each pixel, in `out`."""
    if class_HW.dtype == np.uint8 and table_V.itemsize <= 2:
        import cv2

        cv2.LUT(np.ascontiguousarray(class_HW), table_V, dst=out)  # three times as fast as numpy
    else:
        table_V.take(class_HW, out=out, mode="clip")
    return out


def rims(code_HW: NDArray[Any], reach: int, room: Room, out: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) which pixels lie on the rim of their class, in `out`; where nothing is known, anything."""
    height, width = code_HW.shape
    if min(height, width) <= 2 * reach:
        out[...] = True
        return out
    united = _united(code_HW, 2 * reach + 1, room)
    middle = slice(reach * width + reach, reach * width + reach + len(united))
    np.not_equal(united, code_HW.reshape(-1)[middle], out=out.reshape(-1)[middle])
    for edge in (np.s_[:reach], np.s_[height - reach :], np.s_[:, :reach], np.s_[:, width - reach :]):
        out[edge] = True
    return out


def _united(code_HW: NDArray[Any], side: int, room: Room) -> NDArray[Any]:
    """(n,) the union of the codes in the square of that side that begins at each pixel, up to the last square.

    Stretches are doubled until they are as long as the side, first along rows, then along columns, all on the flat
    array: squares that would run over the end of a row are not those of a picture.
    """
    found, width = code_HW.reshape(-1), code_HW.shape[1]
    one, other = (room(name, found.shape, found.dtype) for name in ("united", "united before"))
    for step in (1, width):
        length = 1
        while length < side:
            further = min(length, side - length)
            left = len(found) - further * step
            found = np.bitwise_or(found[:left], found[further * step :], out=one[:left])
            one, other = other, one
            length += further
    return found
