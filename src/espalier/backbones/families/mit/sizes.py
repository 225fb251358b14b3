"""The published sizes of MiT as data. Importing this module imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

STRIDES = (4, 8, 16, 32)
HEADS = (1, 2, 5, 8)
"""Attention heads of each stage, alike in every size."""
REDUCTIONS = (8, 4, 2, 1)
"""Of each stage: a key stands for so many by so many positions."""
MLP_RATIO = 4

_NARROW, _WIDE = (32, 64, 160, 256), (64, 128, 320, 512)


@dataclass(frozen=True)
class Size:
    """What tells one MiT from another."""

    widths: tuple[int, int, int, int]  # channels of each stage
    depths: tuple[int, int, int, int]  # blocks of each stage
    params: int  # of the encoder, without the published classifier


SIZES: Mapping[str, Size] = {
    "mit_b0": Size(_NARROW, (2, 2, 2, 2), 3_319_392),
    "mit_b1": Size(_WIDE, (2, 2, 2, 2), 13_151_424),
    "mit_b2": Size(_WIDE, (3, 4, 6, 3), 24_196_288),
    "mit_b3": Size(_WIDE, (3, 4, 18, 3), 44_072_128),
    "mit_b4": Size(_WIDE, (3, 8, 27, 3), 60_842_688),
    "mit_b5": Size(_WIDE, (3, 6, 40, 3), 81_443_008),
}
