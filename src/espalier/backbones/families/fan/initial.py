"""How FAN's tensors start when no weights are given."""

from __future__ import annotations

from torch import nn

from espalier.layers import initial


def initialise(encoder: nn.Module) -> None:
    """As transformers' layers do, and the class token from a narrow normal distribution."""
    initial.initialise(encoder)
    token = getattr(encoder, "class_token", None)
    if token is not None:
        nn.init.trunc_normal_(token, std=0.02)
