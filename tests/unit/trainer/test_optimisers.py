"""Groups, freezing and optimisers by name."""

from __future__ import annotations

import pytest
import torch
from parts import Tiny, train_spec
from torch import nn

from espalier.errors import SpecError
from espalier.trainer.optimisers import Lion, freeze, groups, make_optimiser, set_rate


def test_groups_by_rate_and_decay() -> None:
    found = groups(Tiny(), train_spec(backbone_lr_ratio=0.2, weight_decay=0.03))
    assert [(g.name, g.ratio, g.weight_decay, set(g.parameters)) for g in found] == [
        ("backbone (no decay)", 0.2, 0.0, {"backbone.0.bias", "backbone.1.weight", "backbone.1.bias"}),
        ("backbone", 0.2, 0.03, {"backbone.0.weight"}),
        ("head (no decay)", 1.0, 0.0, {"head.bias"}),
        ("head", 1.0, 0.03, {"head.weight"}),
    ]


def test_slow_parts_and_decay_of_everything() -> None:
    class Slow(Tiny):
        def parameter_groups(self) -> dict[str, list[str]]:
            return {"backbone": ["backbone."], "slow": ["head.bias"]}

    found = groups(Slow(), train_spec(backbone_lr_ratio=0.1, slow_lr_ratio=0.3, weight_decay=0.03, decay_all=True))
    assert [(g.name, g.ratio, g.weight_decay, set(g.parameters)) for g in found] == [
        ("backbone", 0.1, 0.03, {"backbone.0.weight", "backbone.0.bias", "backbone.1.weight", "backbone.1.bias"}),
        ("head", 1.0, 0.03, {"head.weight"}),
        ("slow", 0.3, 0.03, {"head.bias"}),
    ]
    assert [g.name for g in groups(Slow(), train_spec())] == [g.name for g in groups(Tiny(), train_spec())]


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "rmsprop", "lion"])
@pytest.mark.parametrize("fused", [True, False])
def test_each_optimiser_moves_every_group_at_its_rate(name: str, fused: bool) -> None:
    model = Tiny()
    optimiser = make_optimiser(model, train_spec(optimizer=name, backbone_lr_ratio=0.0), fused=fused)
    set_rate(optimiser, 0.1)
    before = {n: p.clone() for n, p in model.named_parameters()}
    sum(p.sum() for p in model.parameters()).backward()  # type: ignore[union-attr]
    optimiser.step()
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"head.weight", "head.bias"}  # the backbone's rate is 0 times the base rate


def test_lion_by_hand() -> None:
    """Two steps: the direction is the sign of the mixture, the momentum decays by its own beta."""
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimiser = Lion([{"params": [weight], "weight_decay": 0.1}], lr=0.5, betas=(0.9, 0.5))
    weight.grad = torch.tensor([2.0, -4.0])
    optimiser.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([1.0 * 0.95 - 0.5, -2.0 * 0.95 + 0.5]))
    torch.testing.assert_close(optimiser.state[weight]["exp_avg"], torch.tensor([1.0, -2.0]))
    weight.grad = torch.tensor([-2.0, -4.0])  # 0.9 · 1 + 0.1 · (-2) = 0.7: still upwards
    optimiser.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([0.45 * 0.95 - 0.5, -1.4 * 0.95 + 0.5]))


def test_freezing() -> None:
    model = Tiny()
    still = freeze(model, ("backbone",))
    assert not any(p.requires_grad for p in model.backbone.parameters())
    assert all(p.requires_grad for p in model.head.parameters())
    assert model.backbone[1] in still  # the BatchNorm
    assert {g.name for g in groups(model, train_spec())} == {"head", "head (no decay)"}


def test_a_prefix_is_whole_names() -> None:
    with pytest.raises(SpecError, match=r"starts with 'back'(.|\n)*the model has: backbone, head"):
        freeze(Tiny(), ("back",))


def test_all_frozen_is_refused() -> None:
    with pytest.raises(SpecError, match="everything is frozen"):
        freeze(Tiny(), ("backbone", "head"))
