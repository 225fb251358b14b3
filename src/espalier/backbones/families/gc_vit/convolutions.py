"""The convolutional parts: a gated mixer, down-sampling, the stem. Maps are (B, H, W, C) in and out.

A map with its channels last in memory is to PyTorch a channels-last image: `planes` and `back` copy nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-5
"""Of every layer norm."""


class Gate(nn.Module):
    """(B, H, W, C) to a factor (B, 1, 1, C) for each channel (Hu et al., 2018, squeeze and excitation)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // 4, bias=False)
        self.excite = nn.Linear(channels // 4, channels, bias=False)

    def forward(self, map_BHWC: Tensor) -> Tensor:
        """Factors in 0 to 1."""
        mean = map_BHWC.mean(dim=(1, 2), keepdim=True)
        factor: Tensor = self.excite(functional.gelu(self.squeeze(mean))).sigmoid()
        return factor


class Mix(nn.Module):
    """x + pointwise(gated GELU(depthwise(x))): neighbours mixed, without a norm (the paper's Fused-MBConv)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.gate = Gate(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, map_BHWC: Tensor) -> Tensor:
        """The map, of the same size."""
        mixed = functional.gelu(back(self.depthwise(planes(map_BHWC))))
        gated = mixed * self.gate(mixed)
        return added(map_BHWC, functional.linear(gated, self.pointwise.weight.flatten(1)))


class DownSampler(nn.Module):
    """Half the height and width, rounded up."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm_in = nn.LayerNorm(channels_in, eps=EPS)
        self.mix = Mix(channels_in)
        self.reduce = nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False)
        self.norm_out = nn.LayerNorm(channels_out, eps=EPS)

    def forward(self, map_BHWC: Tensor) -> tuple[Tensor, Tensor]:
        """(the smaller map, the given map normed)."""
        normed = self.norm_in(map_BHWC)
        return self.norm_out(back(self.reduce(planes(self.mix(normed))))), normed


class Stem(nn.Module):
    """An image (B, C, H, W) to the first level's map at stride 4."""

    def __init__(self, channels_in: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(channels_in, width, 3, stride=2, padding=1)
        self.down = DownSampler(width, width)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """(B, H/4, W/4, width), rounded up."""
        embedded = self.embed(image_BCHW.contiguous(memory_format=torch.channels_last))
        smaller: Tensor = self.down(back(embedded))[0]
        return smaller


def added(map_BHWC: Tensor, branch_BHWC: Tensor) -> Tensor:
    """Their sum, in the branch's memory unless that is of a coarser kind of number, as in mixed precision."""
    return branch_BHWC.add_(map_BHWC) if branch_BHWC.dtype == map_BHWC.dtype else map_BHWC + branch_BHWC


def planes(map_BHWC: Tensor) -> Tensor:
    """(B, C, H, W) with the channels last in memory."""
    return map_BHWC.permute(0, 3, 1, 2)


def back(map_BCHW: Tensor) -> Tensor:
    """(B, H, W, C)."""
    return map_BCHW.permute(0, 2, 3, 1)
