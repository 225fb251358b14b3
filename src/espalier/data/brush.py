"""Label Studio's brush masks: the run-length packing of RGBA pixels that its editor writes.

The packing is thi.ng's rle-pack (K. Schmidt, Apache-2.0), written anew here: 32 bits for the number of values, 5 for
the bits of a value less one, four times 4 for the bits of a run's length less one; then runs: one bit (the same value,
or values one by one), two that choose the bits of the length, the length less one, and the value or values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from espalier.errors import DataError, Problem

_LARGEST = 64_000_000  # pixels
_LENGTH_BITS = (4, 8, 12, 16)  # of the runs that we write; more than 16 can't be said
_LONGEST = (1 << 16) // 4  # pixels in one run
_SET = 255


def unpack(packed: Sequence[int], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) the pixels whose alpha is not zero. Raises DataError for a packing of another size, or a damaged one."""
    height, width = size_hw
    pixels = height * width
    bits = _Bits(packed)
    if pixels > _LARGEST:
        raise DataError(Problem("rle", f"a brush mask of {width} × {height} px is refused", f"at most {_LARGEST:,} px"))
    if bits.take(32) != 4 * pixels:
        raise DataError(Problem("rle", f"the brush mask is not one of {width} × {height} px"))
    value_bits = bits.take(5) + 1
    length_bits = [bits.take(4) + 1 for _ in range(4)]
    alpha = np.zeros(pixels, np.bool_)
    place = 0
    while place < 4 * pixels:
        is_run = bits.take(1)
        stop = place + 1 + bits.take(length_bits[bits.take(2)])
        if stop > 4 * pixels:
            raise DataError(Problem("rle", "the runs of a brush mask are longer than its picture"))
        if is_run:
            if bits.take(value_bits):
                alpha[place // 4 : stop // 4] = True  # pixels whose alpha, the last of four values, is in the run
        else:
            for at in range(place, stop):
                if bits.take(value_bits) and at % 4 == 3:
                    alpha[at // 4] = True
        place = stop
    return alpha.reshape(height, width)


def pack(mask_HW: NDArray[np.bool_]) -> list[int]:
    """The mask as Label Studio's editor reads it: four equal values for each pixel, 0 or 255."""
    flat = np.asarray(mask_HW, np.bool_).reshape(-1)
    bounds = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    parts = [f"{4 * flat.size:032b}", f"{8 - 1:05b}", *(f"{bits - 1:04b}" for bits in _LENGTH_BITS)]
    for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist()):
        for at in range(start, stop, _LONGEST):
            length = 4 * min(_LONGEST, stop - at) - 1
            chosen = next(place for place, bits in enumerate(_LENGTH_BITS) if length < 1 << bits)
            parts.append(f"1{chosen:02b}{length:0{_LENGTH_BITS[chosen]}b}{_SET if flat[start] else 0:08b}")
    text = "".join(parts)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


class _Bits:
    """Takes numbers of some bits from the left of bytes."""

    def __init__(self, packed: Sequence[int]) -> None:
        try:
            self._bytes = bytes(packed)
        except (TypeError, ValueError) as error:
            raise DataError(Problem("rle", "the brush mask is no list of bytes")) from error
        self._place = 0

    def take(self, count: int) -> int:
        first, shift = divmod(self._place, 8)
        self._place += count
        last = (self._place + 7) // 8
        if last > len(self._bytes):
            raise DataError(Problem("rle", "the brush mask ends too early"))
        whole = int.from_bytes(self._bytes[first:last], "big")
        return (whole >> (8 * (last - first) - shift - count)) & ((1 << count) - 1)
