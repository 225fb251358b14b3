from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import nn

from espalier.errors import UsageError
from espalier.explainer.features import features, principal, strength
from espalier.explainer.layers import Layer, Layout, chosen, layout_of, record


@pytest.mark.parametrize(
    ("shape", "input_hw", "layout"),
    [
        ((1, 512, 7, 7), (224, 224), Layout("channels first", (7, 7))),
        ((1, 7, 7, 512), (224, 224), Layout("channels last", (7, 7))),
        ((1, 8, 8, 8), (64, 64), Layout("channels first", (8, 8))),  # either; a rule decides
        ((1, 3, 64, 96), (64, 96), Layout("channels first", (64, 96))),
        ((1, 7, 10, 64), (100, 150), Layout("channels last", (7, 10))),
        ((1, 197, 192), (224, 224), Layout("tokens", (14, 14), 1)),
        ((1, 196, 192), (224, 224), Layout("tokens", (14, 14), 0)),
        ((1, 198, 192), (224, 224), Layout("tokens", (14, 14), 2)),  # class and distillation token
        ((1, 201, 192), (224, 224), Layout("tokens", (14, 14), 5)),  # class token and four registers
        ((1, 281, 192), (224, 320), Layout("tokens", (14, 20), 1)),
        ((1, 3, 197, 197), (224, 224), None),  # attention
        ((1, 3, 197, 64), (224, 224), None),  # a head's tokens
        ((1, 300, 256), (480, 640), Layout("tokens", (15, 20), 0)),  # queries look like tokens: see in_encoder
        ((1, 512, 1, 1), (224, 224), None),
        ((1, 512), (224, 224), None),
        ((64, 49, 96), (224, 224), None),
    ],
)
def test_axes_by_rule(shape, input_hw, layout):
    assert layout_of(shape, input_hw) == layout


def test_maps_come_channels_first():
    map_BCHW = torch.arange(24.0).reshape(1, 4, 2, 3)
    last = Layout("channels last", (2, 3)).maps(map_BCHW.permute(0, 2, 3, 1))
    tokens_BNC = torch.cat([torch.full((1, 1, 4), -1.0), map_BCHW.flatten(2).transpose(1, 2)], dim=1)
    assert torch.equal(last, map_BCHW)
    assert torch.equal(Layout("tokens", (2, 3), 1).maps(tokens_BNC), map_BCHW)


class Named(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.body(image)}


@pytest.mark.parametrize(
    ("name", "size", "channels", "grid"),
    [
        ("resnet10t", 64, 512, 2),
        ("convnext_atto", 64, 320, 2),
        ("vit_tiny_patch16_224", 224, 192, 14),
        pytest.param("gcvit_xxtiny", 224, 512, 7, marks=pytest.mark.slow),
        pytest.param("swin_tiny_patch4_window7_224", 224, 768, 7, marks=pytest.mark.slow),
    ],
)
def test_the_last_map_of_real_encoders_is_that_of_timm(name, size, channels, grid):
    body = timm.create_model(name, pretrained=False, num_classes=3).eval()
    model = Named(body)
    image_BCHW = torch.randn(1, 3, size, size)
    layer, map_CHW = features(model, {"image": image_BCHW}, input_hw=(size, size))
    assert map_CHW.shape == (channels, grid, grid)
    with torch.no_grad():
        last = body.forward_intermediates(image_BCHW, indices=1, norm=False, output_fmt="NCHW", intermediates_only=True)
    whole = layer if name != "vit_tiny_patch16_224" else "body.blocks.11"  # a ViT's last map is normalised
    layer, map_CHW = features(model, {"image": image_BCHW}, input_hw=(size, size), layer=whole)
    if "swin" not in name:  # its last map is normalised, too
        assert np.allclose(map_CHW, last[-1][0].numpy(), atol=1e-5)


def test_a_layer_that_is_written_over_is_kept_as_it_was():
    model = Named(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Flatten()))
    _, before = features(model, {"image": torch.randn(1, 3, 8, 8)}, input_hw=(8, 8), layer="body.0")
    assert before.min() < 0


LAYERS = [
    Layer("stem", "Conv2d", (1, 8, 4, 4), Layout("channels first", (4, 4))),
    Layer("blocks.1", "Block", (1, 8, 2, 2), Layout("channels first", (2, 2))),
    Layer("head", "Linear", (1, 5), None),
]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("blocks.l", "there is no layer 'blocks.l'\n  one of the 2 layers that give a map; close to it: blocks.1"),
        ("zzz", "there is no layer 'zzz'\n  one of the 2 layers that give a map; the last one: blocks.1"),
        ("head", "the layer 'head' gives (1, 5), no map"),
    ],
)
def test_an_unknown_layer_names_what_fits(name, words):
    with pytest.raises(UsageError) as error:
        chosen(LAYERS, name)
    assert words in str(error.value)
    assert "--layers lists them" in str(error.value)


def test_layers_are_listed_as_they_are_done():
    model = Named(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)))
    found = record(model, {"image": torch.zeros(1, 3, 8, 8)}, (8, 8)).layers
    assert [(layer.name, layer.words) for layer in found] == [
        ("body.0", "4 × 4 × 4"), ("body.1", "4 × 4 × 4"),
        ("body.2", "(1, 4, 1, 1), no map"), ("body", "(1, 4, 1, 1), no map"),
    ]  # fmt: skip


def test_strength_and_likeness_by_hand():
    map_CHW = np.zeros((2, 1, 3), np.float32)
    map_CHW[:, 0] = [[3, 0, 3], [4, 0, 4]]
    assert strength(map_CHW).tolist() == [[5, 0, 5]]
    colour_HW3 = principal(map_CHW)
    assert colour_HW3[0, 0].tolist() == colour_HW3[0, 2].tolist() != colour_HW3[0, 1].tolist()
    assert np.array_equal(colour_HW3, principal(map_CHW))
