"""How FAN's tensors start when no weights are given."""

from __future__ import annotations

import math

from torch import nn


def initialise(encoder: nn.Module) -> None:
    """Linear layers from a narrow normal distribution, convolutions by their fan-out; norms and scales keep theirs."""
    for module in encoder.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    token = getattr(encoder, "class_token", None)
    if token is not None:
        nn.init.trunc_normal_(token, std=0.02)
