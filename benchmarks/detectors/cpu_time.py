"""Training that is paid in CPU seconds of its own process: what else the machine does then counts for nobody."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from espalier.data.loader import LoadedBatch, TrainingLoader

WARM_UP, LAST_RATE = 0.05, 0.01  # shares of the time and of the base rate
CLIP_NORM = 1.0


@dataclass(frozen=True)
class Spent:
    """What a training took: the CPU time, optimiser steps and pictures."""

    cpu_s: float
    steps: int
    pictures: int


def rate_factor(share: float, step: int) -> float:
    """Linear warm-up over the first twentieth (ten steps at least), then a cosine: `share` of the time is spent."""
    if share < WARM_UP:
        return min((step + 1) / 10, share / WARM_UP)
    return LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * (min(share, 1) - WARM_UP) / (1 - WARM_UP)))


def train(
    optimiser: torch.optim.Optimizer, loader: TrainingLoader, loss: Callable[[LoadedBatch], Tensor], *, cpu_s: float
) -> Spent:
    """Steps until the CPU time is spent; the rates of the optimiser's groups are the highest ones."""
    begin, step, pictures, epoch = time.process_time(), 0, 0, 0
    highest = [float(group["lr"]) for group in optimiser.param_groups]
    learning = [p for group in optimiser.param_groups for p in group["params"]]
    while True:
        for batch in loader.epoch(epoch):
            share = (time.process_time() - begin) / cpu_s
            if share >= 1:
                return Spent(time.process_time() - begin, step, pictures)
            for group, rate in zip(optimiser.param_groups, highest, strict=True):
                group["lr"] = rate * rate_factor(share, step)
            optimiser.zero_grad(set_to_none=True)
            loss(batch).backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
            torch.nn.utils.clip_grad_norm_(learning, CLIP_NORM)
            optimiser.step()
            step, pictures = step + 1, pictures + len(batch.names)
        epoch += 1
