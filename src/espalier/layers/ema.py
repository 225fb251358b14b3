"""Averaged weights: a slow copy of a model that is evaluated and kept in place of the last step's weights."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

ModelT = TypeVar("ModelT", bound=nn.Module)


class Ema(Generic[ModelT]):
    """An exponential moving average of `model`'s weights and floating buffers; `model` is the averaged copy.

    The decay is ramped up, `min(decay, (1 + step) / (10 + step))`, so that a short run is not held back by its start.
    Integer buffers (BatchNorm's counter) are copied.
    """

    def __init__(self, model: ModelT, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, source: nn.Module, step: int) -> None:
        """Move the average towards `source`, the weights after optimiser step `step` (counted from 0)."""
        weight = 1.0 - min(self.decay, (1 + step) / (10 + step))
        ours, theirs = _tensors(self.model), _tensors(source)
        floats = [name for name, tensor in ours.items() if tensor.is_floating_point()]
        if floats:
            torch._foreach_lerp_([ours[n] for n in floats], [theirs[n] for n in floats], weight)
        for name, tensor in ours.items():
            if not tensor.is_floating_point():
                tensor.copy_(theirs[name])


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}
