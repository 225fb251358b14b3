"""Where a token is, as waves of many lengths: works at every size of the map."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from espalier.backbones.families.fan.pointwise import Pointwise

WAVES = 32
"""Channels for each axis."""
LONGEST = 10_000.0


class SinePosition(nn.Module):
    """(B, C, H, W): fixed waves along y, then along x, brought to the width of a token by a learnt 1×1 convolution.

    With `paired`, as in the published classifiers, the sine and cosine that stand together share a wavelength; without,
    as in the published dense models, each channel has its own.
    """

    def __init__(self, width: int, *, paired: bool) -> None:
        super().__init__()
        self.project = Pointwise(2 * WAVES, width)
        self.paired = paired

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """The position of each cell of the map, the same for all pictures."""
        height, width = map_BCHW.shape[2:]
        y_HF = waves(height, paired=self.paired, device=map_BCHW.device)
        x_WF = waves(width, paired=self.paired, device=map_BCHW.device)
        both_HWF = torch.cat([y_HF[:, None].expand(-1, width, -1), x_WF[None].expand(height, -1, -1)], dim=-1)
        sine_1FHW = both_HWF.permute(2, 0, 1)[None].to(self.project.weight.dtype)
        position: Tensor = self.project(sine_1FHW)
        return position.expand(map_BCHW.shape[0], -1, -1, -1)


def waves(length: int, *, paired: bool, device: torch.device | None = None) -> Tensor:
    """(length, WAVES): sines (even) and cosines (odd) of the positions 1…length, which make one turn of the circle.

    Always in float32, whatever the network computes in: published weights were trained with its rounding.
    """
    place_L = torch.arange(1, length + 1, dtype=torch.float32, device=device)
    angle_L = place_L / (place_L[-1:] + 1e-6) * (2 * math.pi)
    channel_F = torch.arange(WAVES, dtype=torch.float32, device=device)
    exponent_F = 2 * torch.floor(channel_F / 2) / WAVES if paired else channel_F / WAVES
    angle_LF = angle_L[:, None] / LONGEST**exponent_F
    return torch.stack([angle_LF[:, 0::2].sin(), angle_LF[:, 1::2].cos()], dim=-1).flatten(1)
