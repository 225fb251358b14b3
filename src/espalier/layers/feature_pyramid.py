"""A feature pyramid (Lin et al., 2017, arXiv 1612.03144): maps of one width, the finer ones knowing the coarser."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FeaturePyramid(nn.Module):
    """Maps of `channels`, finest first, to `levels` maps of `width`; those beyond are strided convolutions (RetinaNet).

    torchvision's has the same layers but enlarges by `interpolate`, which ONNX Runtime rounds differently at odd sizes.
    """

    def __init__(self, channels: Sequence[int], width: int, *, levels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(_convolution(given, width, kernel=1) for given in channels)
        self.smooth = nn.ModuleList(_convolution(width, width, kernel=3) for _ in channels)
        more = range(levels - len(channels))
        self.coarser = nn.ModuleList(_convolution(width, width, kernel=3, stride=2) for _ in more)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The maps, finest first."""
        merged = [lateral(each) for lateral, each in zip(self.lateral, maps, strict=True)]
        for n in reversed(range(len(merged) - 1)):
            merged[n] = merged[n] + enlarged(merged[n + 1], merged[n].shape[2:])
        found = [smooth(each) for smooth, each in zip(self.smooth, merged, strict=True)]
        for n, coarser in enumerate(self.coarser):
            found.append(coarser(found[-1].relu() if n else found[-1]))
        return found


def enlarged(map_BCHW: Tensor, size_hw: Sequence[int]) -> Tensor:
    """The map at a finer map's size, each cell the nearest, in whole numbers."""
    for axis, cells in zip((2, 3), size_hw, strict=True):
        place = torch.arange(cells, device=map_BCHW.device) * map_BCHW.shape[axis] // cells
        map_BCHW = map_BCHW.index_select(axis, place)
    return map_BCHW


def _convolution(channels: int, width: int, *, kernel: int, stride: int = 1) -> nn.Conv2d:
    layer = nn.Conv2d(channels, width, kernel, stride=stride, padding=kernel // 2)
    nn.init.kaiming_uniform_(layer.weight, a=1)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # made with a bias above
    return layer
