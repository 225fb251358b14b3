"""Multi-scale deformable attention (Zhu et al., "Deformable DETR", 2020, eq. 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from espalier.layers.deformable_attention_standard import Size
from espalier.layers.deformable_attention_ways import verdict, way_for

__all__ = ["DeformableAttention", "Size", "deformable_attention"]


def deformable_attention(
    value_BNHD: Tensor, sizes_hw: Sequence[Size], locations_BQHLP2: Tensor, weights_BQHLP: Tensor
) -> Tensor:
    """(B, Q, H·D): the values of all levels at the sampling locations, weighted and summed.

    H heads, D channels a head, L levels, P points. Locations are x, y, 0-1 over a level's whole map, bilinear, pixel
    edges at integers; a point outside samples zeros. The N tokens are the levels' cells, row by row, level by level.
    """
    way = way_for(value_BNHD, locations_BQHLP2)
    return way(value_BNHD, sizes_hw, locations_BQHLP2, weights_BQHLP)


class DeformableAttention(nn.Module):
    """Queries look at a few points of each level, around their reference point or box."""

    def __init__(self, width: int, *, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self._initialise()

    def forward(
        self,
        query_BQC: Tensor,
        reference_BQLx: Tensor,
        value_BNC: Tensor,
        sizes_hw: Sequence[Size],
        padded_BN: Tensor,
    ) -> Tensor:
        """(B, Q, C). `reference_BQLx` is a point (x, y) or a box (cx, cy, w, h) for each level, 0-1 of its map."""
        batch, queries, width = query_BQC.shape
        value = self.value_proj(value_BNC).masked_fill(padded_BN[..., None], 0.0)
        value = value.reshape(batch, -1, self.heads, width // self.heads)
        shape = (batch, queries, self.heads, self.levels, self.points)
        offsets = self.sampling_offsets(query_BQC).reshape(*shape, 2)
        weights = self.attention_weights(query_BQC).reshape(*shape[:3], -1).softmax(-1).reshape(shape)
        locations = self._locations(reference_BQLx[:, :, None, :, None], offsets, sizes_hw)
        seen: Tensor = self.output_proj(deformable_attention(value, sizes_hw, locations, weights))
        return seen

    def chosen_way(self, device: torch.device, kind: torch.dtype) -> tuple[str, str]:
        """How this is computed in training on a device that is no CPU, and why."""
        found = verdict(device, kind)
        return ("one fused kernel" if found.fused else "standard operators"), found.reason

    def _locations(self, reference: Tensor, offsets: Tensor, sizes_hw: Sequence[Size]) -> Tensor:
        """Offsets count cells of the level around a point, and parts of half the box around a box."""
        if reference.shape[-1] == 2:
            size_xy = torch.stack([torch.cat([offsets.new_full((1,), side) for side in (w, h)]) for h, w in sizes_hw])
            return reference + offsets / size_xy[:, None]
        return reference[..., :2] + offsets / self.points * reference[..., 2:] * 0.5

    def _initialise(self) -> None:
        """Each head starts in a direction of its own, its points 1, 2, … cells away; equal weights (paper, A.2)."""
        angle = torch.arange(self.heads) * (2.0 * math.pi / self.heads)
        direction = torch.stack([angle.cos(), angle.sin()], -1)
        direction = direction / direction.abs().max(-1, keepdim=True).values
        steps = torch.arange(1, self.points + 1)[:, None]
        offsets = direction[:, None, None] * steps.expand(self.levels, self.points, 1)
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.flatten())
