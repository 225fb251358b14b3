"""Averaged weights against values worked by hand."""

from __future__ import annotations

import torch
from torch import nn

from espalier.layers.ema import Ema


def test_the_average_by_hand() -> None:
    """The decay is ramped: 1/10, then 2/11, never above what was asked."""
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    ema = Ema(model, 0.15)
    for step, value in enumerate((2.0, 4.0)):
        with torch.no_grad():
            model.weight.fill_(value)
        ema.update(model, step)
    first = 0.1 * 1.0 + 0.9 * 2.0
    torch.testing.assert_close(ema.model.weight.item(), 0.15 * first + 0.85 * 4.0)
    assert not ema.model.weight.requires_grad


def test_statistics_are_averaged_and_counters_copied() -> None:
    model = nn.BatchNorm1d(2)
    ema = Ema(model, 0.5)
    model.train()(torch.randn(8, 2) + 3)
    ema.update(model, 100)
    assert ema.model.num_batches_tracked == 1
    torch.testing.assert_close(ema.model.running_mean, model.running_mean / 2)
    assert not ema.model.training
