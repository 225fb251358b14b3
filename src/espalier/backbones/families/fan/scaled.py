"""Layers whose output has a scale for each channel: it is folded into their weights.

s · (W x + b) = (s W) x + s b: the same numbers, while no product of the size of the map is computed, or kept for the
backward pass. What a residual sum adds to may then be added in place.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from espalier.backbones.families.fan.pointwise import Pointwise


class ScaledLinear(nn.Linear):
    """A linear layer, then a scale for each output."""

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:  # type: ignore[override]  # the scale is another module's
        """scale · (W x + b)."""
        return functional.linear(x, self.weight * scale[:, None], self.bias * scale)


class ScaledPointwise(Pointwise):
    """A 1×1 convolution, then a scale for each output channel."""

    def forward(self, map_BCHW: Tensor, scale: Tensor) -> Tensor:  # type: ignore[override]  # as above
        """scale · (W x + b), channels-last in memory."""
        assert self.bias is not None
        weight = self.weight.flatten(1) * scale[:, None]
        return functional.linear(map_BCHW.permute(0, 2, 3, 1), weight, self.bias * scale).permute(0, 3, 1, 2)


class ScaledDepthwise(nn.Conv2d):
    """A depthwise 3×3 convolution, then a scale for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, 3, padding=1, groups=width)

    def forward(self, map_BCHW: Tensor, scale: Tensor) -> Tensor:  # type: ignore[override]  # as above
        """scale · (W * x + b)."""
        assert self.bias is not None
        weight = self.weight * scale[:, None, None, None]
        return functional.conv2d(map_BCHW, weight, self.bias * scale, padding=1, groups=self.groups)
