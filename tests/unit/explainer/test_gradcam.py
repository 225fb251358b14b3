from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import nn

from espalier.errors import Problem, UsageError
from espalier.explainer.gradcam import gradcam
from espalier.explainer.kinds import KINDS
from espalier.tasks.classification.explained import target

TARGETS = [target(0, ("a", "b")), target(1, ("a", "b"))]


class Linear(nn.Module):
    """logits = W · mean over places of a 1×1 convolution: a network whose map is known exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        self.head = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0]])[:, :, None, None])
            self.head.weight.copy_(torch.tensor([[2.0, -1], [-2, 1]]))

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.head(self.conv(image).mean(dim=(2, 3)))}


class Named(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.body(image)}


def test_a_linear_network_by_hand():
    """The gradient of a mean over P places is weight / P everywhere, so the map is ReLU(W · channels) / P."""
    image_BCHW = torch.rand(1, 3, 4, 6)
    first, second = gradcam(Linear(), {"image": image_BCHW}, TARGETS, input_hw=(4, 6))
    expected_HW = (2 * image_BCHW[0, 0] - image_BCHW[0, 1]).numpy() / 24
    assert first.layer == "conv"
    assert np.allclose(first.map_HW, np.maximum(expected_HW, 0), atol=1e-6)
    assert np.allclose(second.map_HW, np.maximum(-expected_HW, 0), atol=1e-6)


def test_a_chosen_layer_and_one_without_a_map():
    inputs = {"image": torch.rand(1, 3, 4, 6)}
    assert gradcam(Linear(), inputs, TARGETS[:1], input_hw=(4, 6), layer="conv")[0].layer == "conv"
    with pytest.raises(UsageError, match="the layer 'head' gives"):
        gradcam(Linear(), inputs, TARGETS, input_hw=(4, 6), layer="head")


def test_a_layer_that_the_answer_does_not_need():
    class Idle(Linear):
        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            self.conv(image)
            return {"logits": self.head(image.mean(dim=(2, 3))[:, :2])}

    for found in gradcam(Idle(), {"image": torch.rand(1, 3, 4, 6)}, TARGETS, input_hw=(4, 6)):
        assert isinstance(found, Problem)
        assert "does not depend on the layer 'conv'" in found.what


@pytest.mark.parametrize(("pool", "layer"), [("token", "body.blocks.10"), ("avg", "body.norm")])
def test_a_vit_is_looked_at_where_its_places_still_count(pool, layer):
    torch.manual_seed(0)
    options = {"fc_norm": False} if pool == "avg" else {}
    body = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=2, global_pool=pool, **options)
    (cam,) = gradcam(Named(body.eval()), {"image": torch.randn(1, 3, 224, 224)}, TARGETS[:1], input_hw=(224, 224))
    assert cam.layer == layer
    assert cam.map_HW.shape == (14, 14)
    assert np.isfinite(cam.map_HW).all()


def test_gradients_are_made_also_where_they_are_off():
    with torch.no_grad():
        assert gradcam(Linear(), {"image": torch.rand(1, 3, 4, 6)}, TARGETS, input_hw=(4, 6))


def test_every_kind_says_what_it_is():
    assert all(kind.name == name and kind.title and kind.words for name, kind in KINDS.items())
