"""Stochastic depth (Huang et al., 2016) as transformers spread it over their blocks."""

from __future__ import annotations

from timm.layers.drop import DropPath
from torch import nn


def spread_evenly(encoder: nn.Module, rate: float) -> None:
    """None in the first block, rising evenly to `rate` in the last; of an encoder with one DropPath a block."""
    drops = [part for part in encoder.modules() if isinstance(part, DropPath)]
    for number, drop in enumerate(drops):
        drop.drop_prob = rate * number / (len(drops) - 1)
