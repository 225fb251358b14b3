"""Activation checkpointing that leaves a module as a plain forward would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def through(module: nn.Module, map_in: Tensor, *, again: bool) -> Tensor:
    """What the module makes of the input; with `again` its activations are not kept, but computed again for backward.

    The second pass doesn't count for batch norms: their running statistics see each batch once.
    """

    def passes() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), statistics_kept(module)

    recompute = again and torch.is_grad_enabled()
    output: Tensor = checkpoint(module, map_in, use_reentrant=False, context_fn=passes) if recompute else module(map_in)
    return output


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Batch norms inside take a batch's statistics to normalise, and leave their running ones as they are."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, counter) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, counter
