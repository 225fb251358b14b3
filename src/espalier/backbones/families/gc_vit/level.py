"""A level: its global query, and blocks that attend locally and globally in turn."""

from __future__ import annotations

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from espalier.backbones.families.gc_vit.attention import GlobalAttention, WindowAttention
from espalier.backbones.families.gc_vit.convolutions import EPS, added
from espalier.backbones.families.gc_vit.query import GlobalQuery
from espalier.backbones.families.gc_vit.sizes import Size
from espalier.backbones.families.gc_vit.windows import Windows


class Mlp(nn.Module):
    """Two layers at every position."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(channels, hidden)
        self.shrink = nn.Linear(hidden, channels)

    def forward(self, map_BHWC: Tensor) -> Tensor:
        """The map, of the same size."""
        mixed: Tensor = self.shrink(functional.gelu(self.expand(map_BHWC)))
        return mixed


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)); the larger sizes scale both branches."""

    def __init__(self, size: Size, level: int, attention: type[WindowAttention]) -> None:
        super().__init__()
        channels = size.channels[level]
        self.norm_attention = nn.LayerNorm(channels, eps=EPS)
        self.attention = attention(channels, size.windows[level])
        self.scale_attention = _scale(size, channels)
        self.norm_mlp = nn.LayerNorm(channels, eps=EPS)
        self.mlp = Mlp(channels, size.mlp_ratio * channels)
        self.scale_mlp = _scale(size, channels)
        self.drop = DropPath()

    def forward(self, map_BHWC: Tensor, windows: Windows, query_WhNd: Tensor, hidden: Tensor | None) -> Tensor:
        """The map, of the same size."""
        attended = self.attention(self.norm_attention(map_BHWC), windows, query_WhNd, hidden)
        map_BHWC = added(map_BHWC, self.drop(_scaled(attended, self.scale_attention)))
        mixed = self.mlp(self.norm_mlp(map_BHWC))
        return added(map_BHWC, self.drop(_scaled(mixed, self.scale_mlp)))


class Level(nn.Module):
    """The blocks of one stride. Even ones look into their windows, odd ones ask with the query of the whole map."""

    def __init__(self, size: Size, level: int) -> None:
        super().__init__()
        self.side = size.windows[level]
        self.query = GlobalQuery(size.channels[level], level, self.side)
        kinds = (WindowAttention, GlobalAttention)
        self.blocks = nn.ModuleList(Block(size, level, kinds[n % 2]) for n in range(size.depths[level]))
        self.recompute = False

    def forward(self, map_BHWC: Tensor) -> Tensor:
        """The map, of the same size."""
        windows = Windows(self.side, *map_BHWC.shape[:3])
        query = windows.each(self.query(map_BHWC))
        hidden = windows.hidden_keys(map_BHWC)
        for block in self.blocks:
            if self.recompute and torch.is_grad_enabled():
                map_BHWC = checkpoint(block, map_BHWC, windows, query, hidden, use_reentrant=False)
            else:
                map_BHWC = block(map_BHWC, windows, query, hidden)
        return map_BHWC


def _scale(size: Size, channels: int) -> nn.Parameter | None:
    return None if size.layer_scale is None else nn.Parameter(torch.full((channels,), size.layer_scale))


def _scaled(branch_BHWC: Tensor, scale_C: Tensor | None) -> Tensor:
    return branch_BHWC if scale_C is None else branch_BHWC * scale_C
