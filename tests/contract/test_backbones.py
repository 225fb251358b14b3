"""The same questions to every family of encoders that is found. A new family needs no change here."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from espalier import backbones
from espalier.backbones import Out
from espalier.backbones.backbone import Backbone
from espalier.backbones.conversion import converted
from espalier.backbones.family import HouseFamily
from espalier.backbones.official import official_names, shapes
from espalier.backbones.registry import families, find
from espalier.errors import InputError, ModelError
from espalier.exporter.onnx import to_onnx
from espalier.runtime.backends.onnxruntime import OnnxRuntimeBackend

HOUSE = [family for family in families() if isinstance(family, HouseFamily)]
OF_HOUSE = [(family, name) for family in HOUSE for name in family.names()]
OUTS: tuple[Out, ...] = get_args(Out)
TIMM = ["timm/test_resnet", "timm/test_vit"]


def by_size(family: HouseFamily) -> list[str]:
    return sorted(family.names(), key=lambda name: family.facts(name).params)


# each family's smallest, and when there is time its second, which is often of another build
ASKED: list[Any] = [
    *(by_size(family)[0] for family in HOUSE),
    *(pytest.param(name, marks=pytest.mark.slow) for family in HOUSE for name in by_size(family)[1:2]),
]
every_encoder = pytest.mark.parametrize(("family", "name"), OF_HOUSE, ids=[name for _, name in OF_HOUSE])
every_out = pytest.mark.parametrize("out", OUTS)
asked = pytest.mark.parametrize("name", ASKED)
asked_and_timm = pytest.mark.parametrize("name", [*ASKED, *TIMM])


@lru_cache(maxsize=1)
def built(name: str, out: Out, channels_in: int = 3, size_hw: tuple[int, int] | None = None) -> Backbone:
    """Fresh weights by a seed; the last one is kept, since tests of one encoder come together."""
    torch.manual_seed(0)
    return backbones.create(name, channels_in=channels_in, out=out, size_hw=size_hw)


def picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def official_tensors(family: HouseFamily, name: str) -> dict[str, Tensor]:
    """Shapes alone, under the published names."""
    names, ours = official_names(family, name), shapes(family, name)
    return {official: torch.empty(ours[own], device="meta") for own, official in names.items()}


def test_families_are_found() -> None:
    assert {family.name for family in HOUSE} >= {"fan", "gc_vit", "mit"}
    assert len({name for _, name in OF_HOUSE}) == len(OF_HOUSE)


# ---- what the facts say ------------------------------------------------------------


@every_encoder
def test_the_stated_parameters_are_those_built(family: HouseFamily, name: str) -> None:
    with torch.device("meta"):
        encoder = family.build(name, channels_in=3, out="embedding", size_hw=None)
    assert sum(p.numel() for p in encoder.parameters()) == family.facts(name).params
    assert (encoder.facts.name, encoder.facts) == (name, family.facts(name))


@asked_and_timm
@every_out
def test_the_stated_channels_and_strides_are_those_of_real_maps(name: str, out: Out) -> None:
    fixed = backbones.describe(name).fixed_size
    encoder = built(name, out, size_hw=(64, 64)).eval()
    for size_hw in [(64, 64)] if fixed else [(64, 64), (75, 101)]:
        with torch.no_grad():
            maps = encoder(picture(2, 3, *size_hw))
        assert [m.shape[:2] for m in maps] == [(2, channels) for channels in encoder.channels]
        if out == "embedding":
            assert [m.ndim for m in maps] == [2]
        else:
            rounded_up = [tuple(-(-side // stride) for side in size_hw) for stride in encoder.strides]
            assert [tuple(m.shape[2:]) for m in maps] == rounded_up


@every_encoder
def test_a_pyramid_has_strides_4_to_32(family: HouseFamily, name: str) -> None:
    assert family.facts(name).strides == (4, 8, 16, 32)
    assert len(family.facts(name).channels) == 4
    assert len(family.facts(name).dense_channels) == len(family.facts(name).dense_strides)


@asked
def test_the_smallest_input_is_taken_and_a_smaller_one_is_told(name: str) -> None:
    smallest = backbones.describe(name).smallest_px
    assert smallest <= 32
    with torch.no_grad():
        assert torch.isfinite(built(name, "features").eval()(picture(1, 3, smallest, smallest))[0]).all()
    with pytest.raises(InputError, match=rf"network\.input\.size_hw: .*\n.*{smallest} px or more"):
        backbones.create(name, size_hw=(smallest - 1, 64))


# ---- learning ------------------------------------------------------------


@asked_and_timm
@every_out
def test_gradients_reach_every_parameter(name: str, out: Out) -> None:
    encoder = built(name, out, size_hw=(64, 64)).train()
    encoder.zero_grad()
    total(encoder(picture(2, 3, 64, 64))).backward()  # type: ignore[no-untyped-call]
    assert [n for n, p in encoder.named_parameters() if p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)


@asked_and_timm
@pytest.mark.parametrize("out", ["embedding", "pyramid"])
def test_gradients_are_the_same_when_activations_are_computed_again(name: str, out: Out) -> None:
    encoder = built(name, out, size_hw=(64, 64)).train()
    found = []
    for again in (False, True):
        encoder.checkpoint_activations(again)
        encoder.zero_grad()
        total(encoder(picture(2, 3, 64, 64))).backward()  # type: ignore[no-untyped-call]
        found.append([p.grad.clone() for p in encoder.parameters() if p.grad is not None])
    encoder.checkpoint_activations(False)
    assert all(torch.equal(kept, again) for kept, again in zip(*found, strict=True))


def total(maps: list[Tensor]) -> Tensor:
    """A loss that sees every value, each with another weight."""
    return sum((m * picture(*m.shape, seed=3)).sum() for m in maps)  # type: ignore[return-value]


# ---- numbers ------------------------------------------------------------


@asked_and_timm
def test_bf16_is_finite_and_near(name: str) -> None:
    encoder, image = built(name, "embedding", size_hw=(64, 64)).eval(), picture(2, 3, 64, 64)
    with torch.no_grad():
        exact = encoder(image)[0]
        with torch.autocast("cpu", torch.bfloat16):
            rough = encoder(image)[0].float()
    assert torch.isfinite(rough).all()
    assert (rough - exact).norm() <= 0.1 * exact.norm()


@asked_and_timm
@pytest.mark.parametrize("channels_in", [1, 5])
def test_weights_adapt_to_other_bands(name: str, channels_in: int) -> None:
    source = built(name, "embedding", size_hw=(64, 64)).state_dict()
    encoder = backbones.create(name, channels_in=channels_in, out="embedding", size_hw=(64, 64)).eval()
    encoder.adopt({own.removeprefix("body."): tensor for own, tensor in source.items()})
    with torch.no_grad():
        vector = encoder(picture(1, channels_in, 64, 64))[0]
    assert vector.shape == (1, backbones.describe(name).embedding)
    assert torch.isfinite(vector).all()


@asked
def test_weights_of_other_bands_are_taken_as_they_are_or_refused(name: str) -> None:
    five = built(name, "embedding", channels_in=5).state_dict()
    encoder = backbones.create(name, channels_in=5, out="embedding")
    encoder.adopt(five)
    assert all(torch.equal(tensor, five[own]) for own, tensor in encoder.state_dict().items())
    for channels_in in (1, 4):
        with pytest.raises(ModelError, match=r"the weights don't fit.*\n.*, 5, \d, \d\), not"):
            backbones.create(name, channels_in=channels_in, out="embedding").adopt(five)


@asked
def test_the_layout_in_memory_changes_nothing(name: str) -> None:
    encoder, image = built(name, "pyramid").eval(), picture(2, 3, 64, 96)
    with torch.no_grad():
        plain, last = encoder(image), encoder(image.contiguous(memory_format=torch.channels_last))
    for a, b in zip(plain, last, strict=True):
        assert (a - b).abs().max() <= 1e-5 * a.abs().max()


# ---- published weights ------------------------------------------------------------


@every_encoder
def test_no_two_tensors_have_one_official_name(family: HouseFamily, name: str) -> None:
    named = official_names(family, name)
    assert len(set(named.values())) == len(named)


@asked
@every_out
def test_official_tensors_come_back_as_they_were(name: str, out: Out) -> None:
    family, _ = find(name)
    assert isinstance(family, HouseFamily)
    torch.manual_seed(1)
    source = backbones.create(name, out="embedding").state_dict()
    official = {theirs: source[own] for own, theirs in official_names(family, name).items()}
    head = {"head.weight": torch.ones(3, family.facts(name).embedding), "head.bias": torch.ones(3)}
    mapped = converted({**official, **head}, name, where="w.pth", name_it="--as ")
    assert (mapped.how, set(mapped.head)) == ("official name", set(head))
    assert converted({**mapped.encoder, **head}, name, where="w", name_it="").how == "name"
    encoder = backbones.create(name, out=out)
    before = {own: tensor.clone() for own, tensor in encoder.state_dict().items()}
    encoder.adopt(mapped.encoder)
    own = encoder.state_dict()
    taken = [n for n in own if n in source and own[n].is_floating_point()]
    assert len(taken) >= 0.8 * len([n for n in own if own[n].is_floating_point()])
    assert all(torch.equal(own[n], source[n]) for n in taken)
    assert all(torch.equal(own[n], before[n]) for n in own if n not in source)


@every_encoder
def test_a_file_of_another_encoder_names_the_one_it_fits(family: HouseFamily, name: str) -> None:
    other = next(n for n in by_size(family) if n != name)
    tensors = {**official_tensors(family, name), "head.bias": torch.empty(3, device="meta")}
    with pytest.raises(ModelError, match=rf"these tensors are those of {name}: --as {name}\Z"):
        converted(tensors, other, where="w.pth", name_it="--as ")


@asked
def test_a_tensor_of_another_shape_is_refused(name: str) -> None:
    source = dict(built(name, "embedding").state_dict())
    wrong = next(n for n in reversed(source) if source[n].ndim == 2)
    with pytest.raises(ModelError, match=rf"(?s){re.escape(wrong)}.*\(2, 3\)"):
        backbones.create(name, out="embedding").adopt({**source, wrong: torch.zeros(2, 3)})


# ---- export ------------------------------------------------------------


class Named(nn.Module):
    """An encoder with named inputs and outputs, as networks have them."""

    def __init__(self, encoder: Backbone) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {f"map_{number}": each for number, each in enumerate(self.encoder(image))}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*(by_size(family)[0] for family in HOUSE), *TIMM])
@pytest.mark.parametrize("out", ["embedding", "pyramid"])
def test_the_onnx_graph_says_the_same_for_another_batch(name: str, out: Out, tmp_path: Path) -> None:
    model = Named(built(name, out, size_hw=(64, 64))).eval()
    to_onnx(model, {"image": picture(2, 3, 64, 64).numpy()}, tmp_path / "model.onnx")
    image = picture(3, 3, 64, 64, seed=5)
    exported = OnnxRuntimeBackend(tmp_path / "model.onnx").run({"image": image.numpy()})
    with torch.no_grad():
        for key, expected in model(image).items():
            found = exported[key]
            assert found.shape == tuple(expected.shape)
            assert np.abs(found - expected.numpy()).max() <= 1e-4 * float(expected.abs().max())
