"""Sine positions: of the cells of padded maps, and of boxes (Vaswani et al., 2017; Carion et al., 2020)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def cell_positions(padded_BHW: Tensor, width: int, *, temperature: float, centred: bool) -> Tensor:
    """(B, width, H, W) float32: half of the channels for y, then half for x, sines and cosines in turn.

    A cell's place counts the valid cells up to it, from 1 (`centred`: from 0.5), over the valid cells of its column or
    row. Always computed in float32.
    """
    valid = ~padded_BHW
    places = []
    for axis in (1, 2):
        count = valid.cumsum(axis, dtype=torch.float32)
        last = count.narrow(axis, count.shape[axis] - 1, 1)
        places.append((count - (0.5 if centred else 0.0)) / (last + 1e-6))
    return torch.cat([_sines(place, width // 2, temperature) for place in places], dim=-1).permute(0, 3, 1, 2)


def box_positions(box_cxcywh: Tensor, width: int, *, order: tuple[int, ...], temperature: float = 10000.0) -> Tensor:
    """(…, width · len(order)): `width` channels for each of the box's numbers in the given order, 0 cx … 3 h."""
    return torch.cat([_sines(box_cxcywh[..., number], width, temperature) for number in order], dim=-1)


def _sines(place: Tensor, width: int, temperature: float) -> Tensor:
    """(…, width): sines of the even and cosines of the odd channels of 2π · place over rising wave lengths."""
    exponent = 2 * (torch.arange(width, dtype=torch.float32, device=place.device) // 2) / width
    angle = (place * 2 * math.pi)[..., None] / temperature**exponent
    return torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], dim=-1).flatten(-2)
