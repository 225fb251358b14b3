"""A class map in little room: its stretches of one class, deflated.

Neighbours in a row mostly have one class, so stretches are a few per cent of the pixels: a quarter of the room that the
deflated map itself takes, in less than half of the time, both ways. A part without such stretches is deflated as it is.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.vision.class_maps import ClassMap

_PIXELS_AT_ONCE = 1 << 22  # of a part: what is computed of it takes little beside a huge map
_LEAST_PX = 8  # of a stretch, on average; where they are shorter the pixels themselves are quicker


@dataclass(frozen=True)
class _Part:
    """Pixels that follow each other, in rows: deflated, `stretches` classes and as many lengths; 0 for the pixels."""

    pixels: int
    stretches: int
    deflated: bytes

    @staticmethod
    def of(flat: NDArray[Any]) -> _Part:
        start = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        if (len(start) + 1) * _LEAST_PX > len(flat):
            return _Part(len(flat), 0, zlib.compress(flat.data, 1))
        length = np.diff(start, prepend=0, append=len(flat)).astype(np.uint32)
        found = flat[np.concatenate([[0], start])]
        return _Part(len(flat), len(found), zlib.compress(found.tobytes() + length.tobytes(), 1))

    def unpacked(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        if not self.stretches:
            raw = zlib.decompress(self.deflated, bufsize=max(1, self.pixels * dtype.itemsize))
            return np.frombuffer(raw, dtype)
        raw = zlib.decompress(self.deflated, bufsize=self.stretches * (dtype.itemsize + 4))
        found = np.frombuffer(raw, dtype, self.stretches)
        return np.repeat(found, np.frombuffer(raw, np.uint32, self.stretches, found.nbytes))


@dataclass(frozen=True)
class PackedMap:
    """A class map, uint8 or uint16, packed; `class_HW` unpacks it."""

    parts: tuple[_Part, ...]
    size_hw: tuple[int, int]
    dtype: np.dtype[Any]

    @staticmethod
    def of(class_HW: ClassMap) -> PackedMap:
        """The map, packed."""
        flat = np.ascontiguousarray(class_HW).reshape(-1)
        parts = tuple(_Part.of(flat[first : first + _PIXELS_AT_ONCE]) for first in range(0, flat.size, _PIXELS_AT_ONCE))
        return PackedMap(parts, (int(class_HW.shape[0]), int(class_HW.shape[1])), class_HW.dtype)

    @property
    def class_HW(self) -> ClassMap:
        """(H, W) class ids, read-only."""
        if len(self.parts) == 1:
            flat = self.parts[0].unpacked(self.dtype)
        else:
            flat, first = np.empty(self.size_hw[0] * self.size_hw[1], self.dtype), 0
            for part in self.parts:
                flat[first : first + part.pixels] = part.unpacked(self.dtype)
                first += part.pixels
        flat.setflags(write=False)
        return flat.reshape(self.size_hw)

    @property
    def nbytes(self) -> int:
        """How much room it takes."""
        return sum(len(part.deflated) for part in self.parts)
