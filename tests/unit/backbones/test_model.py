"""Encoders by name: their facts, their three kinds of output, and that they compute what timm computes."""

from __future__ import annotations

import pytest
import timm
import torch

from espalier import backbones
from espalier.errors import InputError

CONV, TOKENS = "timm/test_resnet", "timm/test_vit"


def test_facts_of_a_published_encoder() -> None:
    facts = backbones.describe("timm/tf_efficientnet_lite0")
    assert facts.params == 3_371_008
    assert (facts.channels, facts.strides) == ((24, 40, 112, 320), (4, 8, 16, 32))
    assert (facts.feature_channels, facts.feature_stride, facts.embedding) == (1280, 32, 1280)
    assert (facts.size_hw, facts.mean, facts.std) == ((224, 224), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert (facts.resample, facts.fit, facts.crop_fraction) == ("pillow_bicubic", "centre_crop", 0.875)


def test_the_tag_decides_the_input() -> None:
    assert backbones.describe("resnet18.tv_in1k").resample == "pillow_bilinear"
    assert backbones.describe("timm/resnet18.a1_in1k").resample == "pillow_bicubic"


def test_some_encoders_have_layers_after_pooling() -> None:
    facts = backbones.describe("mobilenetv4_conv_small")
    assert (facts.feature_channels, facts.embedding) == (960, 1280)


@pytest.mark.parametrize("name", [CONV, TOKENS, "timm/test_mambaout"])
@pytest.mark.parametrize("out", ["embedding", "features", "pyramid"])
def test_shapes_are_as_stated(name: str, out: backbones.Out) -> None:
    backbone = backbones.create(name, out=out, channels_in=2).eval()
    size = backbone.facts.size_hw
    with torch.no_grad():
        maps = backbone(torch.rand(2, 2, *size))
    assert [m.shape[1] for m in maps] == list(backbone.channels)
    if out == "embedding":
        assert maps[0].ndim == 2
    else:
        assert [tuple(m.shape[2:]) for m in maps] == [(size[0] // s, size[1] // s) for s in backbone.strides]


@pytest.mark.parametrize("name", [CONV, TOKENS])
def test_the_vector_is_timms_own_to_the_bit(name: str) -> None:
    backbone = backbones.create(name, out="embedding").eval()
    theirs = timm.create_model(name.removeprefix("timm/"), num_classes=0).eval()
    theirs.load_state_dict(backbone.body.state_dict())
    image = torch.rand(2, 3, *backbone.facts.size_hw)
    with torch.no_grad():
        assert torch.equal(backbone(image)[0], theirs(image))


def test_a_pyramid_leaves_no_parameter_without_a_gradient() -> None:
    backbone = backbones.create(CONV, out="pyramid")
    sum(m.mean() for m in backbone(torch.rand(2, 3, 64, 64))).backward()  # type: ignore[union-attr]
    assert [n for n, p in backbone.named_parameters() if p.grad is None] == []


def test_an_encoder_of_fixed_size_is_built_for_another() -> None:
    backbone = backbones.create(TOKENS, out="embedding", size_hw=(96, 128)).eval()
    with torch.no_grad():
        assert backbone(torch.rand(1, 3, 96, 128))[0].shape == (1, 64)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("timm/resnet81", "close to it: timm/resnet18"),
        ("resnet18.nonsense", "it has: resnet18.a1_in1k"),
        ("", "there is no encoder of that name"),
        ("timm/../../etc/passwd", "there is no encoder of that name"),
    ],
)
def test_unknown_names_are_told_with_what_there_is(name: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        backbones.describe(name)


def test_names_are_ready_to_use() -> None:
    names = backbones.names()
    assert CONV in names
    theirs = [name.startswith("timm/") for name in names]
    assert theirs == sorted(theirs), "ours first"
    assert "gc_vit_tiny" in names
