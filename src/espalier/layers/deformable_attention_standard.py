"""Multi-scale deformable attention of standard operators: what is exported, and what every faster way must equal."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

Size = tuple[int, int]


def standard_attention(
    value_BNHD: Tensor, sizes_hw: Sequence[Size], locations_BQHLP2: Tensor, weights_BQHLP: Tensor
) -> Tensor:
    """(B, Q, H·D): see `deformable_attention`. One grid sample a level, all samples kept, then weighted and summed."""
    batch, _, heads, width = value_BNHD.shape
    queries, levels, points = locations_BQHLP2.shape[1], locations_BQHLP2.shape[3], locations_BQHLP2.shape[4]
    value_BNHD = value_BNHD.to(locations_BQHLP2.dtype)  # places need more digits than a half-precision value has
    grid = (2 * locations_BQHLP2 - 1).permute(0, 2, 3, 1, 4, 5).reshape(batch * heads, levels, queries, points, 2)
    sampled = []
    for level, (tokens, (height, across)) in enumerate(zip(_split(value_BNHD, sizes_hw), sizes_hw)):
        cells = tokens.permute(0, 2, 3, 1).reshape(batch * heads, width, height, across)
        sampled.append(functional.grid_sample(cells, grid[:, level], padding_mode="zeros", align_corners=False))
    weights = weights_BQHLP.permute(0, 2, 1, 3, 4).reshape(batch * heads, 1, queries, levels * points)
    summed = (torch.cat(sampled, dim=-1) * weights).sum(-1)
    return summed.reshape(batch, heads * width, queries).transpose(1, 2).to(weights_BQHLP.dtype)


def _split(value_BNHD: Tensor, sizes_hw: Sequence[Size]) -> Sequence[Tensor]:
    return torch.split(value_BNHD, [height * width for height, width in sizes_hw], dim=1)
