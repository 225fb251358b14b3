"""GC-ViT's own pieces, by hand; what every family is asked is in tests/contract/test_backbones.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from espalier import backbones
from espalier.backbones.families.gc_vit import facts_of, query, windows
from espalier.backbones.families.gc_vit.attention import GlobalAttention, WindowAttention, relative_position_index
from espalier.backbones.families.gc_vit.convolutions import DownSampler
from espalier.backbones.families.gc_vit.level import Block, Level
from espalier.backbones.families.gc_vit.model import GcVit
from espalier.backbones.families.gc_vit.official import official_name
from espalier.backbones.families.gc_vit.query import resampling
from espalier.backbones.families.gc_vit.sizes import Size
from espalier.backbones.families.gc_vit.windows import Windows
from espalier.errors import ModelError
from espalier.exporter.onnx import to_onnx
from espalier.runtime.backends.onnxruntime import OnnxRuntimeBackend

SMALL = Size(32, (2, 2, 2, 2), 2, 0, layer_scale=0.5, trained_px=96)
"""Windows of 3, 3, 6 and 3 positions a side."""

PARITY = Path(__file__).parents[5] / "shared" / "parity"


def encoder(out: str = "embedding", channels_in: int = 3) -> GcVit:
    """Fresh weights by a seed; biases and tables, which start near nothing, are drawn too."""
    torch.manual_seed(0)
    return drawn(GcVit(SMALL, facts_of("small", SMALL), channels_in=channels_in, out=out))


M = TypeVar("M", bound=nn.Module)


def drawn(module: M) -> M:
    torch.manual_seed(0)
    for name, parameter in module.named_parameters():
        if name.endswith(("bias", "bias_table")):
            nn.init.normal_(parameter, std=0.5)
    return module


def picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- windows ------------------------------------------------------------


def test_a_row_of_the_bias_table_for_each_distance() -> None:
    # positions (y, x): 0 (0, 0), 1 (0, 1), 2 (1, 0), 3 (1, 1); row = 3 (dy + 1) + (dx + 1), query less key
    assert relative_position_index(2).tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]


def test_windows_go_row_by_row_and_their_positions_too() -> None:
    map_BHWC = torch.arange(16).reshape(1, 4, 4, 1)
    cut = Windows(2, 1, 4, 4).split(map_BHWC)
    assert cut[..., 0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


@pytest.mark.parametrize("size_hw", [(6, 9), (7, 8), (1, 1), (3, 4)])
def test_what_is_split_is_merged_again(size_hw: tuple[int, int]) -> None:
    map_BHWC = picture(2, *size_hw, 5)
    cut = Windows(3, *map_BHWC.shape[:3])
    assert cut.padded == any(side % 3 for side in size_hw)
    assert len(cut.split(map_BHWC)) == cut.count
    assert torch.equal(cut.merge(cut.split(map_BHWC)), map_BHWC)


def test_padding_is_hidden_below_and_on_the_right() -> None:
    hidden = Windows(2, 1, 3, 2).hidden_keys(torch.zeros(1))
    assert hidden is not None
    assert hidden[:, 0, 0].tolist() == [[0, 0, 0, 0], [0, 0, -torch.inf, -torch.inf]]
    assert Windows(2, 1, 4, 2).hidden_keys(torch.zeros(1)) is None


@pytest.mark.parametrize("kind", [WindowAttention, GlobalAttention])
@pytest.mark.parametrize("gradients", [False, True])
def test_padded_keys_get_no_weight(kind: type[WindowAttention], gradients: bool) -> None:
    attention, cut = drawn(kind(32, 4)), Windows(4, 2, 5, 6)
    whole = Windows(4, 2, 8, 8)
    asked = picture(whole.count, 1, 16, 32, seed=1)
    zeros = functional.pad(picture(2, 5, 6, 32), (0, 0, 0, 2, 0, 3))
    noise = zeros.clone()
    noise[:, 5:], noise[:, :, 6:] = 100.0, -50.0
    hidden = cut.hidden_keys(zeros)
    with torch.set_grad_enabled(gradients):  # the two ways to attend
        mixed = attention(zeros[:, :5, :6], cut, asked, hidden)
        for padded in (zeros, noise):
            assert torch.equal(attention(padded, whole, asked, hidden)[:, :5, :6], mixed)


def test_both_ways_to_attend_say_the_same() -> None:
    attention, cut, map_BHWC = (
        drawn(WindowAttention(64, 4)).double(),
        Windows(4, 2, 7, 6),
        picture(2, 7, 6, 64).double(),
    )
    plain = attention(map_BHWC, cut, map_BHWC, cut.hidden_keys(map_BHWC))
    with torch.no_grad():
        fused = attention(map_BHWC, cut, map_BHWC, cut.hidden_keys(map_BHWC))
    torch.testing.assert_close(fused, plain, rtol=1e-12, atol=1e-12)


# ---- the global query ------------------------------------------------------------


def test_every_window_is_asked_by_its_own_picture() -> None:
    asked = torch.arange(2.0).reshape(2, 1, 1, 1)
    assert Windows(2, 2, 2, 6).each(asked).flatten().tolist() == [0, 0, 0, 1, 1, 1]


def test_a_picture_does_not_see_its_neighbours_in_the_batch() -> None:
    level, map_BHWC = drawn(Level(SMALL, 0)).eval(), picture(3, 7, 10, 32)
    with torch.no_grad():
        alone = torch.cat([level(one[None]) for one in map_BHWC])
        torch.testing.assert_close(level(map_BHWC), alone)


@pytest.mark.parametrize("length", [1, 3, 7, 9, 14, 31])
def test_the_query_is_resampled_as_an_antialiased_image_would_be(length: int) -> None:
    weight = resampling(length, 7, torch.zeros(1, dtype=torch.float64))
    rows = picture(1, 1, length, 2).double()  # PyTorch's own is wrong for a width of 1
    theirs = functional.interpolate(rows, size=(7, 2), mode="bilinear", antialias=True)[0, 0]
    torch.testing.assert_close(weight @ rows[0, 0], theirs)


def test_a_query_of_the_window_s_size_stays_as_it_is() -> None:
    assert torch.equal(resampling(7, 7, torch.zeros(1)), torch.eye(7))


# ---- any size ------------------------------------------------------------


@pytest.mark.parametrize("gradients", [False, True])
def test_at_the_trained_size_padding_masking_and_resampling_change_no_bit(
    gradients: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, image = encoder("pyramid").eval(), picture(2, 3, 96, 96)
    with torch.set_grad_enabled(gradients):
        plain = model(image)
        monkeypatch.setattr(windows, "_tiles", lambda length, side: False)
        monkeypatch.setattr(query, "_as_long", lambda length, side: False)
        assert all(torch.equal(a, b) for a, b in zip(plain, model(image), strict=True))


@pytest.mark.parametrize("size_hw", [(32, 32), (33, 47), (96, 96), (224, 224)])
def test_maps_of_any_size(size_hw: tuple[int, int]) -> None:
    with torch.no_grad():
        maps = encoder("pyramid").eval()(picture(1, 3, *size_hw))
    assert [tuple(m.shape) for m in maps] == [
        (1, channels, -(-size_hw[0] // stride), -(-size_hw[1] // stride))
        for channels, stride in zip((32, 64, 128, 256), (4, 8, 16, 32))
    ]
    assert all(torch.isfinite(m).all() for m in maps)


def test_the_last_map_of_the_pyramid_is_the_features_and_their_mean_the_embedding() -> None:
    image, found, model = picture(2, 3, 40, 64), {}, encoder().eval()
    for out in ("embedding", "features", "pyramid", "dense"):
        model.out = out
        with torch.no_grad():
            found[out] = model(image)
    assert torch.equal(found["features"][0], found["pyramid"][-1])
    torch.testing.assert_close(found["features"][0].mean(dim=(2, 3)), found["embedding"][0])
    assert all(torch.equal(a, b) for a, b in zip(found["pyramid"], found["dense"], strict=True))


def test_levels_are_as_even_as_a_norm_makes_them() -> None:
    model = encoder("pyramid").eval()
    nn.init.zeros_(model.norm.bias)
    for down in model.downs:
        assert isinstance(down, DownSampler)
        nn.init.zeros_(down.norm_in.bias)
    with torch.no_grad():
        assert [round(float(m.std()), 1) for m in model(picture(1, 3, 64, 64))] == [1.0] * 4


# ---- training ------------------------------------------------------------


def test_computing_again_gives_the_same_gradients() -> None:
    model, image = encoder("pyramid").train(), picture(2, 3, 33, 47)
    model.drop_paths(0.5)
    found = []
    for again in (False, True):
        model.checkpoint_activations(again)
        model.zero_grad()
        torch.manual_seed(3)
        torch.stack([(m**2).sum() for m in model(image)]).sum().backward()  # type: ignore[no-untyped-call]
        found.append([p.grad for p in model.parameters()])
    assert all(a is not None and torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_stochastic_depth_rises_evenly_and_drops_only_in_training() -> None:
    model, image = encoder(), picture(2, 3, 32, 32)
    model.drop_paths(0.7)
    rates = [block.drop.drop_prob for block in model.modules() if isinstance(block, Block)]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    with torch.no_grad():
        evaluated, trained = model.eval()(image)[0], model.train()(image)[0]
        model.drop_paths(0.0)
        assert not torch.allclose(trained, evaluated)
        assert torch.equal(model(image)[0], evaluated)


def test_in_bf16_all_is_finite() -> None:
    with torch.no_grad():
        maps = encoder("pyramid").eval().bfloat16()(picture(1, 3, 33, 47).bfloat16())
    assert {m.dtype for m in maps} == {torch.bfloat16}
    assert all(torch.isfinite(m).all() for m in maps)


def test_mixed_precision_keeps_the_stream_exact() -> None:
    level = drawn(Level(SMALL, 0))
    with torch.autocast("cpu", torch.bfloat16):
        assert level(picture(1, 6, 6, 32)).dtype == torch.float32


# ---- published weights ------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("stem.embed.bias", "patch_embed.proj.bias"),
        ("stem.down.mix.gate.squeeze.weight", "patch_embed.conv_down.conv.2.fc.0.weight"),
        ("downs.2.norm_in.weight", "levels.2.downsample.norm1.weight"),
        ("downs.0.reduce.weight", "levels.0.downsample.reduction.weight"),
        ("levels.1.query.mixes.0.depthwise.weight", "levels.1.q_global_gen.to_q_global.0.conv.0.weight"),
        ("levels.1.query.mixes.1.gate.excite.weight", "levels.1.q_global_gen.to_q_global.1.conv.2.fc.2.weight"),
        ("levels.2.blocks.18.attention.bias_table", "levels.2.blocks.18.attn.relative_position_bias_table"),
        ("levels.2.blocks.18.attention.project.weight", "levels.2.blocks.18.attn.proj.weight"),
        ("levels.3.blocks.0.scale_attention", "levels.3.blocks.0.gamma1"),
        ("levels.3.blocks.0.scale_mlp", "levels.3.blocks.0.gamma2"),
        ("levels.3.blocks.0.mlp.shrink.bias", "levels.3.blocks.0.mlp.fc2.bias"),
        ("norm.weight", "norm.weight"),
    ],
)
def test_official_names(ours: str, theirs: str) -> None:
    assert official_name(ours) == theirs


@pytest.mark.skipif(not PARITY.is_dir(), reason="the parity files are not here")
@pytest.mark.parametrize("name", ["gc_vit_xxtiny", "gc_vit_xtiny"])
def test_official_names_and_shapes_are_all_there(name: str) -> None:
    entries = json.loads((PARITY / f"{name}.json").read_text())["state_dict"]
    theirs = {e["name"]: tuple(e["shape"]) for e in entries if e.get("filled", True) and "head." not in e["name"]}
    with torch.device("meta"):
        ours = backbones.create(name, out="embedding").state_dict()
    assert {official_name(n): tuple(t.shape) for n, t in ours.items()} == theirs


def test_names_of_21k_encoders_lead_to_those_of_the_same_build() -> None:
    assert backbones.describe("gc_vit_large_384_21k") == backbones.describe("gc_vit_large_384")
    assert backbones.describe("gcvit_xxtiny").name == "timm/gcvit_xxtiny"


def test_weights_go_in_strictly_and_adapt_to_the_bands() -> None:
    given = encoder().state_dict()
    grey = encoder(channels_in=1)
    grey.adopt(given)
    torch.testing.assert_close(grey.stem.embed.weight, given["stem.embed.weight"].sum(dim=1, keepdim=True))
    with pytest.raises(ModelError, match=r"norm\.bias is missing; other\.weight is none of this encoder's"):
        grey.adopt({n: t for n, t in given.items() if n != "norm.bias"} | {"other.weight": torch.zeros(1)})


# ---- export ------------------------------------------------------------


class OneLevel(nn.Module):
    """A level between named maps, channels first as the exporter takes images."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.level = drawn(Level(SMALL, level))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"map": self.level(image.permute(0, 2, 3, 1))}


class Pyramid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = encoder("pyramid")

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {f"map_{number}": m for number, m in enumerate(self.encoder(image))}


@pytest.mark.slow
def test_a_level_s_graph_takes_other_sizes(tmp_path: Path) -> None:
    _graph_follows(OneLevel(0), (2, 32, 12, 15), [(3, 32, 12, 15), (1, 32, 7, 10), (2, 32, 24, 24)], tmp_path)


@pytest.mark.full
def test_a_whole_graph_takes_other_sizes(tmp_path: Path) -> None:
    _graph_follows(Pyramid(), (2, 3, 64, 96), [(3, 3, 64, 96), (1, 3, 96, 96), (1, 3, 33, 47)], tmp_path)


def _graph_follows(model: nn.Module, traced: tuple[int, ...], others: list[tuple[int, ...]], folder: Path) -> None:
    to_onnx(model.eval(), {"image": picture(*traced).numpy()}, folder / "model.onnx", dynamic_size=True)
    graph = OnnxRuntimeBackend(folder / "model.onnx")
    for shape in others:
        found = graph.run({"image": picture(*shape, seed=1).numpy()})
        with torch.no_grad():
            for name, expected in model(picture(*shape, seed=1)).items():
                error = (torch.from_numpy(found[name]) - expected).abs().max()
                assert error <= 1e-4 * expected.abs().max()
