"""The hybrids' first stages: ConvNeXt (Liu et al., "A ConvNet for the 2020s", 2022, arXiv 2201.03545)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from espalier.backbones.families.fan.norm import ChannelNorm
from espalier.backbones.families.fan.pointwise import Pointwise
from espalier.backbones.families.fan.scaled import ScaledPointwise
from espalier.layers.recompute import through


class ConvNext(nn.Module):
    """(B, bands, H, W) to a map of each stage, at strides 4, 8, …; sizes round up. Maps are channels-last in memory."""

    def __init__(self, channels_in: int, widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = Stem(channels_in, widths[0])
        first = Stage(widths[0], depths[0])
        others = [Stage(after, depth, before) for (before, after), depth in zip(pairwise(widths), depths[1:])]
        self.stages = nn.ModuleList([first, *others])
        self.recomputes = False

    def forward(self, image_BCHW: Tensor) -> list[Tensor]:
        """The map of each stage, not normalised."""
        return list(self.each(image_BCHW))

    def last(self, image_BCHW: Tensor) -> Tensor:
        """The last stage's map; the larger ones before it are let go as soon as they are used."""
        (map_BCHW,) = deque(self.each(image_BCHW), maxlen=1)
        return map_BCHW

    def each(self, image_BCHW: Tensor) -> Iterator[Tensor]:
        """The map of each stage, one after another."""
        map_BCHW = self.stem(image_BCHW)
        for stage in self.stages:
            map_BCHW = stage(map_BCHW, again=self.recomputes)
            yield map_BCHW


class Stem(nn.Module):
    """A 4×4 convolution of stride 4 and a norm, whose variance alone is the usual one."""

    def __init__(self, channels_in: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, width, 4, stride=4)
        self.norm = ChannelNorm(width, unbiased=False)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """A quarter of the size, rounded up."""
        map_BCHW: Tensor = self.norm(self.conv(padded(image_BCHW, 4)))
        return map_BCHW


class Stage(nn.Module):
    """Blocks of one width; from the second stage on a down-sampler stands before them."""

    def __init__(self, width: int, depth: int, before: int | None = None) -> None:
        super().__init__()
        self.downsample = nn.Identity() if before is None else Downsample(before, width)
        self.blocks = nn.ModuleList(ConvNextBlock(width) for _ in range(depth))

    def forward(self, map_BCHW: Tensor, *, again: bool = False) -> Tensor:
        """The stage's map; with `again` its blocks are computed again in the backward pass."""
        map_BCHW = self.downsample(map_BCHW)
        for block in self.blocks:
            map_BCHW = through(block, map_BCHW, again=again)
        return map_BCHW


class Downsample(nn.Module):
    """A norm, then a 2×2 convolution of stride 2."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(before, unbiased=True)
        self.conv = nn.Conv2d(before, after, 2, stride=2)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Half the size, rounded up."""
        halved: Tensor = self.conv(padded(self.norm(map_BCHW), 2))
        return halved


class ConvNextBlock(nn.Module):
    """x + scale · mlp(norm(depthwise 7×7 of x))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = ChannelNorm(width, unbiased=True)
        self.expand = Pointwise(width, 4 * width)
        self.reduce = ScaledPointwise(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """The map with what its neighbourhood adds."""
        wide: Tensor = functional.gelu(self.expand(self.norm(self.spatial(map_BCHW))))
        near: Tensor = self.reduce(wide, self.scale)
        return map_BCHW + near


def padded(map_BCHW: Tensor, multiple: int) -> Tensor:
    """The map with zeros on the right and at the bottom, until both sides are a multiple.

    A side that is free in an exported graph is no int: there the zeros are always asked for, be they none.
    """
    height, width = map_BCHW.shape[2:]
    below, right = (_missing(side, multiple) for side in (height, width))
    if isinstance(below, int) and isinstance(right, int) and below == right == 0:
        return map_BCHW
    return functional.pad(map_BCHW, (0, right, 0, below))


def _missing(side: int, multiple: int) -> int:
    return (side + multiple - 1) // multiple * multiple - side
