"""The sizes of FAN as data. No torch."""

from __future__ import annotations

from dataclasses import dataclass

CONVNEXT_WIDTHS = (128, 256)
"""Channels of the hybrids' two convolutional stages, at strides 4 and 8."""


@dataclass(frozen=True)
class FanSize:
    """What tells one FAN from another."""

    width: int  # channels of a token
    depth: int  # blocks of token and channel attention
    heads: int
    params: int  # of the encoder, without the published classifier of 1000 classes
    convnext_depths: tuple[int, ...] = ()  # blocks of the convolutional stages; () makes patches by four convolutions
    dense_blocks: tuple[int, ...] = ()  # whose outputs are maps of `dense`

    @property
    def hybrid(self) -> bool:
        """Does it begin with ConvNeXt stages?"""
        return bool(self.convnext_depths)


# The names say 8, 12, 16 and 16 blocks for the hybrids; the published ones have 8, 10, 16 and 22.
# dense_blocks of the hybrids are the published dense models'; those of the others are ours, at quarters of the depth.
SIZES = {
    "fan_tiny_12_p16_224": FanSize(192, 12, 4, 7_126_920, dense_blocks=(2, 5, 8)),
    "fan_small_12_p16_224": FanSize(384, 12, 8, 27_960_336, dense_blocks=(2, 5, 8)),
    "fan_base_18_p16_224": FanSize(448, 18, 8, 53_901_320, dense_blocks=(4, 8, 13)),
    "fan_large_24_p16_224": FanSize(480, 24, 10, 80_093_100, dense_blocks=(5, 11, 17)),
    "fan_tiny_8_p4_hybrid": FanSize(192, 8, 8, 7_274_240, (3, 3), (7,)),
    "fan_small_12_p4_hybrid": FanSize(384, 10, 8, 25_732_944, (3, 3), (9,)),
    "fan_base_16_p4_hybrid": FanSize(448, 16, 8, 50_026_048, (3, 3), (15,)),
    "fan_large_16_p4_hybrid": FanSize(480, 22, 10, 76_374_140, (3, 5), (18,)),
}
