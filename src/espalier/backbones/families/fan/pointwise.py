"""A 1×1 convolution that is computed as the linear layer it is."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Pointwise(nn.Conv2d):
    """(B, C, H, W) to (B, D, H, W), each position by itself.

    A map with the channels last in memory is rows of a matrix already, so no layout changes on the way; a convolution
    changes it twice on one CPU thread, where PyTorch has no 1×1 convolution for that order.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 1)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """The map, channels-last in memory."""
        out_BHWD = functional.linear(map_BCHW.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias)
        return out_BHWD.permute(0, 3, 1, 2)
