"""How the learning rate moves: a pure function of the step, so that nothing about it needs saving."""

from __future__ import annotations

import math

from espalier.spec.training import TrainSpec


def rate_factor(train: TrainSpec, step: int, steps_per_epoch: int, total_steps: int) -> float:
    """What the base rate is multiplied by at optimiser step `step` (from 0): warm-up × the schedule by name.

    The warm-up is linear and reaches 1 on its last step; the schedule begins after it. Raises nothing: a step past the
    end stays at the end's rate.
    """
    assert not isinstance(train.warmup_epochs, str), "resolve the spec"
    warmup_steps = min(round(train.warmup_epochs * steps_per_epoch), max(total_steps - 1, 0))
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    if train.schedule == "cosine":
        return train.final_lr_ratio + (1 - train.final_lr_ratio) * 0.5 * (1 + math.cos(math.pi * done))
    if train.schedule == "poly":
        return train.final_lr_ratio + (1 - train.final_lr_ratio) * float((1 - done) ** train.poly_power)
    if train.schedule == "step":
        passed = sum(step >= epoch * steps_per_epoch for epoch in train.step_epochs)
        return float(train.step_factor**passed)
    return 1.0
