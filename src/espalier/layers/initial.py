"""How the layers of a transformer start when no weights are given."""

from __future__ import annotations

import math

from torch import nn


def initialise(module: nn.Module) -> None:
    """Linear layers from a narrow normal distribution, convolutions by their fan-out; norms and scales keep theirs."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Conv2d):
            fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels // layer.groups
            nn.init.normal_(layer.weight, std=math.sqrt(2 / fan_out))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
