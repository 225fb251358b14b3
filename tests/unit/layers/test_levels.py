"""The mask of padding on maps of any size."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from espalier.layers.levels import _nearest, padding_mask


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_a_level_takes_its_nearest_pixels(stride: int) -> None:
    """As the published codes do by `interpolate`, whose places are rounded in float32 (exact ones are compared)."""
    for height in range(64, 140):
        padded = padding_mask(
            torch.zeros(3, 1, height, 101), torch.tensor([[height * 4 // 5, 90], [height, 80], [9, 101]])
        )
        cells = (-(-height // stride), -(-101 // stride))
        expected = functional.interpolate(padded[:, None].double(), size=cells, mode="nearest")[:, 0] > 0.5
        assert torch.equal(_nearest(padded, torch.zeros(3, 1, *cells)), expected)
