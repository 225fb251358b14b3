"""Layers that are computed in one of several ways, and what they say of the device that trains them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import nn

from espalier.spec.training import TrainSpec

_KINDS = {"bf16": torch.bfloat16, "fp16": torch.float16}


@runtime_checkable
class Chooses(Protocol):
    """A layer whose way depends on the device and on the number format."""

    def chosen_way(self, device: torch.device, kind: torch.dtype) -> tuple[str, str]:
        """The way, and why; the same numbers come out of every way, within rounding."""
        ...


def ways_of(model: nn.Module, device: torch.device, train: TrainSpec) -> list[tuple[str, str, str]]:
    """The kind of layer, its way and why, one for each kind. Nothing on a CPU, where there is nothing to find out."""
    if device.type == "cpu":
        return []
    layers = {type(module).__name__: module for module in model.modules() if isinstance(module, Chooses)}
    if train.compile:
        return [(name, "standard operators", "train.compile fuses them itself") for name in layers]
    kind = _KINDS.get(train.precision, torch.float32)
    return [(name, *layer.chosen_way(device, kind)) for name, layer in layers.items()]
