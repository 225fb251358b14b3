"""Activation checkpointing in training: the same steps to the bit, running statistics included, or a clear refusal."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from espalier.errors import SpecError
from espalier.layers.model import Batch
from espalier.networks.classifier.model import Classifier
from espalier.networks.classifier.spec import ClassifierSpec
from espalier.spec.sections import BackboneSpec
from espalier.trainer.engine import Engine

from .parts import Tiny, train_spec


def classifier(encoder: str, **values: Any) -> Classifier:
    torch.manual_seed(0)
    spec = ClassifierSpec(backbone=BackboneSpec(name=encoder), multi_label=False, **values)
    return Classifier(spec, ["a", "b", "c"])


def after_two_steps(model: Classifier, *, recomputes: bool) -> dict[str, torch.Tensor]:
    engine = Engine(model, train_spec(activation_checkpointing=recomputes, clip_norm=0.0), seed=0)
    engine.set_up()
    engine.training_mode()
    size = model.backbone.facts.size_hw
    image = torch.rand(4, 3, *size, generator=torch.Generator().manual_seed(1))
    loaded = SimpleNamespace(inputs={"image": image}, targets={"class_C": torch.eye(4, 3)}, names=["x"] * 4)
    for step in range(2):
        engine.step([Batch(loaded.inputs, loaded.targets, loaded.names)], step, 0.01)
    engine.close()
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("encoder", ["timm/test_resnet", "timm/test_vit", "timm/test_efficientnet"])
def test_training_takes_the_same_steps(encoder: str) -> None:
    kept = after_two_steps(classifier(encoder), recomputes=False)
    again = after_two_steps(classifier(encoder), recomputes=True)
    assert all(torch.equal(kept[name], again[name]) for name in kept)


def test_activations_are_computed_again_and_the_model_is_left_as_it_came() -> None:
    model, passes = classifier("timm/test_vit"), []
    model.backbone.body.blocks[0].register_forward_pre_hook(lambda *_: passes.append(1))
    after_two_steps(model, recomputes=True)
    assert len(passes) == 4
    model.losses(Batch({"image": torch.rand(1, 3, 160, 160)}, {"class_C": torch.eye(1, 3)}))["total"].backward()
    assert len(passes) == 5


@pytest.mark.parametrize("what", ["an encoder that can't", "no encoder"])
def test_what_can_not_is_told_with_the_field(what: str) -> None:
    if what == "no encoder":
        model: Any = Tiny()
        model.backbone = nn.Identity()
    else:
        model = classifier("timm/selecsls42")
    with pytest.raises(SpecError, match=r"train.activation_checkpointing: .*(\n.*)*leave it false"):
        Engine(model, train_spec(activation_checkpointing=True), seed=0)
