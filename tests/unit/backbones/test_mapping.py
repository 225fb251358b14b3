"""Published tensors find their place by name, or by order; what doesn't fit is refused."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from espalier import backbones
from espalier.backbones.converted import ConvertedTensors
from espalier.backbones.registry import find
from espalier.errors import ModelError

from .conftest import ENCODER, published

COUNTERS = "num_batches_tracked"


def converted(tensors: dict[str, torch.Tensor], name: str) -> ConvertedTensors:
    family, canonical = find(name)
    return family.convert(tensors, canonical)


def test_by_name() -> None:
    tensors = published()
    mapped = converted(tensors, ENCODER)
    assert mapped.how == "name"
    assert set(mapped.head) == {"fc.weight", "fc.bias"}
    backbone = backbones.create(ENCODER)
    backbone.adopt(mapped.encoder)
    own = backbone.body.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in mapped.encoder.items())


def test_by_order_when_names_differ_and_counters_are_left_out() -> None:
    renamed = {f"layer.{n}": t for n, (k, t) in enumerate(published().items()) if not k.endswith(COUNTERS)}
    mapped = converted(renamed, ENCODER)
    assert mapped.how == "order"
    expected = published()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in mapped.encoder.items())
    assert torch.equal(mapped.head["fc.bias"], expected["fc.bias"])


def test_by_order_without_a_classifier() -> None:
    bare = [t for k, t in published().items() if not k.startswith("fc.") and not k.endswith(COUNTERS)]
    assert converted({f"t{n}": t for n, t in enumerate(bare)}, ENCODER).how == "order"


@pytest.mark.parametrize("change", ["another encoder", "one tensor less", "one other shape"])
def test_what_does_not_fit_is_refused_with_the_first_differences(change: str) -> None:
    tensors = published()
    if change == "another encoder":
        tensors = timm.create_model("test_convnext").state_dict()
    elif change == "one tensor less":
        del tensors["conv1.0.weight"]
    else:
        tensors["layer1.0.conv1.weight"] = torch.zeros(1, 2, 3, 3)
    with pytest.raises(ModelError, match=r"don't fit the \d+ of timm/test_resnet(.|\n)*(is missing|, not)"):
        converted(tensors, ENCODER)


def test_an_input_layer_adapts_to_grey_by_summing() -> None:
    mapped = converted(published(), ENCODER)
    grey = backbones.create(ENCODER, channels_in=1)
    grey.adopt(mapped.encoder)
    expected = published()["conv1.0.weight"].sum(dim=1, keepdim=True)
    torch.testing.assert_close(grey.body.state_dict()["conv1.0.weight"], expected)


def test_an_input_layer_adapts_to_more_bands() -> None:
    five = backbones.create(ENCODER, channels_in=5)
    five.adopt(converted(published(), ENCODER).encoder)
    weight, rgb = five.body.state_dict()["conv1.0.weight"], published()["conv1.0.weight"]
    torch.testing.assert_close(weight[:, :3], rgb * 3 / 5)


def test_position_embeddings_adapt_to_the_input_size() -> None:
    theirs = timm.create_model("test_vit").eval()
    ours = backbones.create("timm/test_vit", out="embedding", size_hw=(96, 128)).eval()
    ours.adopt(converted(theirs.state_dict(), "timm/test_vit").encoder)
    assert ours.body.pos_embed.shape == (1, 6 * 8 + 1, 64)
    assert isinstance(ours.body, nn.Module)
    torch.testing.assert_close(ours.body.pos_embed[:, :1], theirs.pos_embed[:, :1])
