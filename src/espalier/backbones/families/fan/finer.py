"""Finer maps for the encoders that see a picture at stride 16 only.

Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection" (ViTDet), 2022, arXiv 2203.16527: from
the last map alone, by transposed convolutions. No published weights have these layers; they start at random.
"""

from __future__ import annotations

from torch import Tensor, nn

from espalier.backbones.families.fan.norm import ChannelNorm


class FinerMaps(nn.Module):
    """(B, C, H, W) at stride 16 to (B, C/4, 4H, 4W) and (B, C/2, 2H, 2W), cut to the picture's size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stride_4 = nn.Sequential(
            nn.ConvTranspose2d(width, width // 2, 2, stride=2),
            ChannelNorm(width // 2, unbiased=False),
            nn.GELU(),
            nn.ConvTranspose2d(width // 2, width // 4, 2, stride=2),
        )
        self.stride_8 = nn.ConvTranspose2d(width, width // 2, 2, stride=2)

    def forward(self, map_BCHW: Tensor, picture_hw: tuple[int, int]) -> list[Tensor]:
        """The maps at strides 4 and 8."""
        return [_cut(self.stride_4(map_BCHW), picture_hw, 4), _cut(self.stride_8(map_BCHW), picture_hw, 8)]


def _cut(map_BCHW: Tensor, picture_hw: tuple[int, int], stride: int) -> Tensor:
    """Rows and columns that have part of the picture."""
    height, width = ((side + stride - 1) // stride for side in picture_hw)
    return map_BCHW[:, :, :height, :width]
