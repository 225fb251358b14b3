"""Losses against PyTorch's own and values that one can work out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from espalier.layers.losses import soft_binary_cross_entropy, soft_cross_entropy

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0], [-3.0, 1.0, 4.0]])
IDS = torch.tensor([0, 2, 1])
ONE_HOT = functional.one_hot(IDS, 3).float()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 1.0, 3.0])])
def test_is_cross_entropy_for_one_hot_targets(smoothing: float, weight: torch.Tensor | None) -> None:
    expected = functional.cross_entropy(LOGITS, IDS, weight=weight, label_smoothing=smoothing)
    assert soft_cross_entropy(LOGITS, ONE_HOT, smoothing=smoothing, weight_C=weight) == pytest.approx(expected.item())


def test_even_logits_cost_the_logarithm_of_the_classes() -> None:
    mixed = torch.tensor([[0.3, 0.7, 0.0]])
    assert soft_cross_entropy(torch.zeros(1, 3), mixed).item() == pytest.approx(math.log(3))


def test_a_mixed_target_is_the_mixture_of_losses() -> None:
    first, second = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0, 1.0, 0]])
    both = 0.25 * soft_cross_entropy(LOGITS[:1], first) + 0.75 * soft_cross_entropy(LOGITS[:1], second)
    assert soft_cross_entropy(LOGITS[:1], 0.25 * first + 0.75 * second).item() == pytest.approx(both.item())


def test_a_batch_of_weightless_classes_costs_nothing_and_stays_finite() -> None:
    loss = soft_cross_entropy(LOGITS[:1], ONE_HOT[:1], weight_C=torch.tensor([0.0, 1.0, 1.0]))
    assert loss.item() == 0.0


def test_binary_by_hand() -> None:
    # -log sigmoid(0) for each of four labels, the positive one weighted by 3: (3 + 1 + 1 + 1) log 2 / 4
    target = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    loss = soft_binary_cross_entropy(torch.zeros(2, 2), target, positive_weight_C=torch.tensor([3.0, 1.0]))
    assert loss.item() == pytest.approx(6 * math.log(2) / 4)


def test_binary_smoothing_pulls_towards_one_half() -> None:
    logits, target = torch.tensor([[4.0]]), torch.tensor([[1.0]])
    expected = functional.binary_cross_entropy_with_logits(logits, torch.tensor([[0.9]]))
    assert soft_binary_cross_entropy(logits, target, smoothing=0.2).item() == pytest.approx(expected.item())


def test_half_precision_logits_are_summed_in_float32() -> None:
    assert soft_cross_entropy(LOGITS.half(), ONE_HOT.half()).dtype == torch.float32
    assert soft_binary_cross_entropy(LOGITS.half(), ONE_HOT.half()).dtype == torch.float32
