"""One query for each position of a window, made from the whole map of a level."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from espalier.backbones.families.gc_vit.convolutions import Mix, back, planes
from espalier.backbones.families.gc_vit.sizes import HEAD_WIDTH

MIXES = (3, 2, 1, 1)
"""Of each level. In the first two levels each is followed by pooling, which at the trained size ends at a window."""

POOLED_LEVELS = 2


class GlobalQuery(nn.Module):
    """A level's map to the query that all its windows share.

    At the trained size the pooled map is as large as a window. Any other is resampled to it, see `resampling`.
    """

    def __init__(self, channels: int, level: int, side: int) -> None:
        super().__init__()
        self.mixes = nn.ModuleList(Mix(channels) for _ in range(MIXES[level]))
        self.pooled = level < POOLED_LEVELS
        self.side = side

    def forward(self, map_BHWC: Tensor) -> Tensor:
        """(B, heads, N, d)."""
        for mix in self.mixes:
            map_BHWC = mix(map_BHWC)
            if self.pooled:
                map_BHWC = back(functional.max_pool2d(planes(map_BHWC), 3, stride=2, padding=1))
        window_BssC = _resampled(map_BHWC, self.side)
        batch, *_, channels = map_BHWC.shape
        return window_BssC.reshape(batch, self.side**2, channels // HEAD_WIDTH, HEAD_WIDTH).transpose(1, 2)


def _resampled(map_BHWC: Tensor, side: int) -> Tensor:
    """(B, side, side, C)."""
    _, height, width, _ = map_BHWC.shape
    if _as_long(height, side) and _as_long(width, side):
        return map_BHWC
    rows = torch.einsum("sh,bhwc->bswc", resampling(height, side, map_BHWC), map_BHWC)
    return torch.einsum("tw,bswc->bstc", resampling(width, side, map_BHWC), rows)


def _as_long(length: int, side: int) -> bool:
    """Where a graph leaves the length open, it may be another."""
    return isinstance(length, int) and length == side


def resampling(length: int, side: int, like: Tensor) -> Tensor:
    """(side, length): weights that bring `length` values to `side`, each row's sum 1; the identity for equal lengths.

    Antialiased linear interpolation, pixel centres at halves: a triangle one step wide, the step being that of the
    coarser of the two grids.
    """
    exact = torch.promote_types(like.dtype, torch.float32)  # half a precision can't count positions
    given = torch.arange(length, dtype=exact, device=like.device)
    step = (given[-1:] + 1) / side  # the length as a tensor: a graph may leave it open
    centre = (torch.arange(side, dtype=exact, device=like.device) + 0.5) * step - 0.5
    weight = (1 - (given[None] - centre[:, None]).abs() / step.clamp_min(1)).clamp_min(0)
    return (weight / weight.sum(dim=1, keepdim=True)).to(like.dtype)
