"""Detectors on pictures that were labelled for some classes only: no part of the network unlearns the others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from espalier.layers.model import Batch, TrainableModel
from espalier.networks import card as cards
from espalier.networks import registry
from espalier.spec.facts import Facts
from espalier.spec.load import load_spec
from espalier.spec.resolve import resolve

CLASSES = ("red", "green", "blue")
NETWORKS: dict[str, dict[str, Any]] = {
    "dino": {"name": "dino", "preset": "tiny"},
    "fit": {"name": "dino", "preset": "tiny", "loss": {"score": "fit", "dense_weight": 1.0}},
    "fcos": {"name": "fcos", "preset": "tiny"},
    "deformable_detr": {"name": "deformable_detr", "preset": "tiny", "two_stage": False},
    "two_stage": {"name": "deformable_detr", "preset": "tiny", "refine": True, "two_stage": True},
}


def detector(name: str) -> TrainableModel:
    asked = {"network": NETWORKS[name]}
    spec = resolve(load_spec(asked, lookup=registry.entry), Facts(n_train=2, classes=CLASSES))[0].network
    assert spec is not None
    torch.manual_seed(0)
    model: TrainableModel = cards.build(registry.get(spec.name), spec, CLASSES)
    return model.train()


def batch(*, unlabelled: tuple[int, ...] = (), region_class: int | None = None) -> Batch:
    """Two pictures with a green object each; what is unsaid, if anything, is so in both."""
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    regions = () if region_class is None else (region_class,)
    targets = {
        "class_N": [torch.tensor([1])] * 2,
        "box_N4": [torch.tensor([[0.4, 0.4, 0.3, 0.3]])] * 2,
        "ignored_class_K": [torch.tensor(regions, dtype=torch.int64)] * 2,
        "ignored_K4": [torch.tensor([[0.5, 0.5, 9.0, 9.0]] * len(regions)).reshape(-1, 4)] * 2,
        "unlabelled_U": [torch.tensor(unlabelled, dtype=torch.int64)] * 2,
    }
    return Batch({"image": image, "valid_hw": torch.tensor([[64, 64]] * 2)}, targets)


def gradients(model: TrainableModel, given: Batch) -> dict[str, Tensor]:
    model.zero_grad()
    torch.manual_seed(2)
    model.losses(given)["total"].backward()  # type: ignore[no-untyped-call]
    return {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}


def heads(model: TrainableModel, grads: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gradients of tensors with a row a class, but for those whose first row stands for every object."""
    nameless = model.any_object_prefixes() or ("\0",)
    return {name: g for name, g in grads.items() if name.startswith(model.head_prefixes()) and name[: len(nameless[0])]
            not in nameless}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_a_class_that_was_not_labelled_is_not_unlearnt(name: str) -> None:
    model = detector(name)
    found = heads(model, gradients(model, batch(unlabelled=(0, 2))))
    assert found
    for tensor, grad in found.items():
        assert (grad[[0, 2]] == 0).all(), tensor
    assert any((grad[1] != 0).any() for grad in found.values())
    before = heads(model, gradients(model, batch(unlabelled=(2,))))
    assert any((grad[0] != 0).any() for grad in before.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_region_of_every_class_around_it_all_leaves_the_objects_alone(name: str) -> None:
    model = detector(name)
    found = heads(model, gradients(model, batch(region_class=-1)))
    for tensor, grad in found.items():
        if not tensor.startswith("denoising."):
            assert (grad[[0, 2]] == 0).all(), tensor
    plain = heads(model, gradients(model, batch()))
    assert all((plain[tensor][0] != 0).any() for tensor in found if not tensor.startswith("denoising."))


def test_a_class_agnostic_encoder_calls_nothing_background_where_any_class_was_not_labelled() -> None:
    model = detector("two_stage")
    (prefix,) = model.any_object_prefixes()
    plain = gradients(model, batch())[f"{prefix}bias"]
    for given in (batch(unlabelled=(2,)), batch(region_class=0)):
        grad = gradients(model, given)[f"{prefix}bias"]
        assert grad[0] < min(plain[0], 0)  # the labelled objects alone pull it, upwards
        assert (grad[1:] == 0).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_where_the_labels_say_everything_no_bit_changes(name: str) -> None:
    model, given = detector(name), batch()
    plain = Batch(given.inputs, {key: given.targets[key] for key in ("class_N", "box_N4")})
    with_arrays, without = gradients(model, given), gradients(model, plain)
    assert all(torch.equal(grad, without[key]) for key, grad in with_arrays.items())
