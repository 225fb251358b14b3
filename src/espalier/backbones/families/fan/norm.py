"""Layer norm over the channels of a map."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class ChannelNorm(nn.Module):
    """(B, C, H, W) to the same, each position normalised over its channels.

    With `unbiased` the sum of squares is divided by C - 1, as in the published hybrids' ConvNeXt blocks. Since
    (x - mean) / sqrt(v C/(C-1) + eps) = sqrt((C-1)/C) (x - mean) / sqrt(v + eps (C-1)/C), v the usual variance, it is
    the usual norm with another epsilon and weight: one fused kernel, and no copy where the map is channels-last.
    """

    def __init__(self, channels: int, *, unbiased: bool, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        share = (channels - 1) / channels if unbiased else 1.0
        self.factor, self.eps = math.sqrt(share), eps * share

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """The normalised map, channels-last in memory."""
        weight_C = self.weight * self.factor
        map_BHWC = map_BCHW.permute(0, 2, 3, 1)
        normed_BHWC = functional.layer_norm(map_BHWC, weight_C.shape, weight_C, self.bias, self.eps)
        return normed_BHWC.permute(0, 3, 1, 2)
