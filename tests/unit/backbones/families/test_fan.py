"""What only FAN has: waves, an unbiased norm, gates of channels, doubled patches, sizes that round up."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from espalier import backbones
from espalier.backbones.families.fan import facts
from espalier.backbones.families.fan.blocks import ChannelAttention, FanBlock
from espalier.backbones.families.fan.class_attention import ClassAttention, ClassBlock, PatchBlock
from espalier.backbones.families.fan.convnext import ConvNext, padded
from espalier.backbones.families.fan.model import Fan
from espalier.backbones.families.fan.norm import ChannelNorm
from espalier.backbones.families.fan.official import official_name
from espalier.backbones.families.fan.position import WAVES, waves
from espalier.backbones.families.fan.sizes import SIZES, FanSize
from espalier.errors import InputError, ModelError
from espalier.exporter.onnx import onnx_bytes
from espalier.runtime.backends.onnxruntime import OnnxRuntimeBackend

TINY = {
    "plain": FanSize(32, depth=3, heads=4, params=0, dense_blocks=(0, 1)),
    "hybrid": FanSize(48, depth=2, heads=4, params=0, convnext_depths=(1, 1), dense_blocks=(0,)),
}
OUTS: list[backbones.Out] = ["embedding", "features", "pyramid", "dense"]
PARITY = Path(__file__).parents[5] / "shared" / "parity"


def tiny(kind: str, out: str, *, channels_in: int = 3) -> Fan:
    """A small FAN, every tensor of which matters."""
    torch.manual_seed(0)
    encoder = Fan(facts(kind, TINY[kind]), TINY[kind], channels_in=channels_in, out=out)
    with torch.no_grad():
        for tensor in encoder.parameters():
            tensor.add_(0.1 * torch.randn_like(tensor))
    return encoder


def total(maps: list[Tensor]) -> Tensor:
    return sum((m * torch.linspace(-1, 1, m.numel()).view(m.shape)).sum() for m in maps)  # type: ignore[return-value]


# ---- positions -------------------------------------------------------------------------------------------------------


def test_waves_make_one_turn_and_pairs_share_a_length() -> None:
    found = waves(4, paired=True)
    assert found.shape == (4, WAVES)
    assert found[:, 0].tolist() == pytest.approx([1, 0, -1, 0], abs=1e-5)  # the sine of a quarter, a half, … of a turn
    assert found[:, 1].tolist() == pytest.approx([0, -1, 0, 1], abs=1e-5)
    angle = math.pi / 2 / 10_000 ** (2 / 32)
    assert found[0, 2:4].tolist() == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-6)


def test_without_pairs_each_wave_has_its_own_length() -> None:
    found = waves(4, paired=False)
    assert torch.equal(found[:, 0::2], waves(4, paired=True)[:, 0::2])  # sines are at even channels in both
    assert found[0, 1].item() == pytest.approx(math.cos(math.pi / 2 / 10_000 ** (1 / 32)), abs=1e-6)


def test_waves_stay_float32_and_y_comes_first() -> None:
    encoder = tiny("plain", "features").double()
    weight = torch.zeros(32, 2 * WAVES, 1, 1, dtype=torch.float64)
    weight[0, 0], weight[1, WAVES] = 1, 1  # the first sine of each axis
    encoder.position.project.weight = nn.Parameter(weight)
    encoder.position.project.bias = nn.Parameter(torch.zeros(32, dtype=torch.float64))
    position = encoder.position(torch.zeros(1, 32, 3, 5, dtype=torch.float64))
    assert position.dtype == torch.float64
    assert torch.equal(position[0, 0, :, 0].float(), waves(3, paired=True)[:, 0])
    assert torch.equal(position[0, 1, 0].float(), waves(5, paired=True)[:, 0])


# ---- layers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unbiased", [True, False])
def test_the_channel_norm_divides_as_it_says(unbiased: bool) -> None:
    norm = ChannelNorm(2, unbiased=unbiased, eps=0.5).double()
    found = norm(torch.tensor([1.0, 3.0], dtype=torch.float64).view(1, 2, 1, 1)).flatten()
    variance = 2.0 if unbiased else 1.0  # squares 1 and 1, over 1 or over 2
    assert found.tolist() == pytest.approx([-1 / math.sqrt(variance + 0.5), 1 / math.sqrt(variance + 0.5)], abs=1e-12)


def test_the_stem_alone_has_the_usual_variance() -> None:
    convnext = ConvNext(3, (8, 16), (2, 1))
    usual = [name for name, m in convnext.named_modules() if isinstance(m, ChannelNorm) and m.factor == 1.0]
    assert usual == ["stem.norm"]


def test_the_gate_is_the_formula_channel_by_channel() -> None:
    torch.manual_seed(0)
    attention = ChannelAttention(6, heads=2).double()
    attention.temperature = nn.Parameter(torch.tensor([0.5, 2.0], dtype=torch.float64).view(2, 1, 1))
    tokens = torch.randn(1, 4, 6, dtype=torch.float64)
    query = attention.query(tokens)
    expected = []
    for channel in range(6):
        head = channel // 3
        key = [tokens[0, :, c].softmax(0) for c in range(3 * head, 3 * head + 3)]
        agreement = sum(query[0, :, channel].softmax(0)[n].item() * sum(k[n].item() for k in key) / 3 for n in range(4))
        expected.append((0.5, 2.0)[head] / (1 + math.exp(-agreement)))
    assert attention.gate(tokens).flatten().tolist() == pytest.approx(expected, abs=1e-12)


def test_the_query_bias_of_a_gate_changes_nothing() -> None:
    attention, tokens = ChannelAttention(8, heads=2).double(), torch.randn(1, 5, 8, dtype=torch.float64)
    before = attention.gate(tokens)
    with torch.no_grad():
        attention.query.bias += 3.0
    assert torch.allclose(attention.gate(tokens), before, atol=1e-12, rtol=0)


def test_a_block_is_the_formulas_with_scales_apart() -> None:
    torch.manual_seed(0)
    block = FanBlock(8, heads=2).double().eval()
    with torch.no_grad():
        for tensor in block.parameters():
            tensor.add_(0.3 * torch.randn_like(tensor))
    map_BHWC = torch.randn(2, 3, 4, 8, dtype=torch.float64)
    one = torch.ones(8, dtype=torch.float64)
    x = map_BHWC + block.token_scale * block.token_attention(block.token_norm(map_BHWC), one)
    value = block.channel_attention.value
    normed = block.channel_norm(x)
    wide = value.expand(normed)
    mixed = value.reduce(wide + value.scale * value.local(wide, torch.ones(32, dtype=torch.float64)))
    gate = block.channel_attention.gate(normed.flatten(1, 2))
    x = x + block.channel_scale * (gate * block.channel_attention.value_norm(mixed))
    assert torch.allclose(block(map_BHWC), x, atol=1e-12, rtol=0)


def test_class_attention_is_the_usual_one_for_a_single_query() -> None:
    torch.manual_seed(0)
    attention = ClassAttention(8, heads=2).double()
    tokens = torch.randn(2, 5, 8, dtype=torch.float64)
    query, key, value = (
        layer(tokens).unflatten(-1, (2, 4)).transpose(1, 2)
        for layer in (attention.query, attention.key, attention.value)
    )
    told = ((query @ key.transpose(-2, -1)) / 2).softmax(-1) @ value
    expected = attention.project(told.transpose(1, 2).flatten(2))[:, :1]
    assert torch.allclose(attention(tokens), expected, atol=1e-12, rtol=0)


def test_the_key_bias_of_class_attention_changes_nothing_and_its_gradient_says_so() -> None:
    attention, tokens = ClassAttention(8, heads=2), torch.randn(2, 5, 8)
    told = attention(tokens)
    told.square().sum().backward()
    assert attention.key.bias.grad is not None
    assert attention.key.bias.grad.abs().max() == 0
    with torch.no_grad():
        attention.key.bias += 3.0
        assert torch.equal(attention(tokens), told)


def test_patches_leave_a_class_block_doubled() -> None:
    torch.manual_seed(0)
    block, tokens = ClassBlock(8, heads=2, last=False).double(), torch.randn(1, 4, 8, dtype=torch.float64)
    stream = block.stream_norm(tokens + block.attention_scale * block.input_norm(tokens))
    assert torch.allclose(block(tokens)[:, 1:], 2 * stream[:, 1:], atol=1e-12, rtol=0)
    alone = PatchBlock(8).double()
    alone.load_state_dict({name: t for name, t in block.state_dict().items() if name in alone.state_dict()})
    assert torch.allclose(alone(tokens[:, 1:]), block(tokens)[:, 1:], atol=1e-12, rtol=0)


def test_the_last_class_block_gives_the_same_class_token() -> None:
    block, tokens = ClassBlock(8, heads=2, last=False), torch.randn(2, 4, 8)
    last = ClassBlock(8, heads=2, last=True)
    last.load_state_dict(block.state_dict())
    assert torch.equal(last(tokens), block(tokens)[:, :1])


# ---- what comes out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("out", OUTS)
@pytest.mark.parametrize("size_hw", [(32, 32), (33, 47), (64, 80)])
def test_maps_have_a_cell_for_every_begun_stride(kind: str, out: backbones.Out, size_hw: tuple[int, int]) -> None:
    encoder = tiny(kind, out, channels_in=2).eval()
    with torch.no_grad():
        maps = encoder(torch.rand(2, 2, *size_hw))
    expected = [
        (2, channels, *(-(-side // stride) for side in size_hw))
        for channels, stride in zip(encoder.channels, encoder.strides or (0,))
        if stride
    ]
    assert [tuple(m.shape) for m in maps] == (expected or [(2, *encoder.channels)])


def test_zeros_on_the_right_and_below_are_what_is_added() -> None:
    assert padded(torch.ones(1, 1, 3, 4), 4)[0, 0, 3].tolist() == [0, 0, 0, 0]
    image = torch.ones(1, 1, 4, 8)
    assert padded(image, 4) is image
    encoder = tiny("hybrid", "features").eval()
    image = torch.rand(1, 3, 45, 64)
    with torch.no_grad():
        assert torch.equal(encoder(image)[0], encoder(nn.functional.pad(image, (0, 0, 0, 3)))[0])


def test_published_dense_maps_are_the_stream_and_not_normalised() -> None:
    hybrid = backbones.describe("fan_large_16_p4_hybrid")
    assert (hybrid.dense_channels, hybrid.dense_strides) == ((128, 256, 480, 480), (4, 8, 16, 16))
    assert SIZES[hybrid.name].dense_blocks == (18,)
    with torch.device("meta"):
        encoder = backbones.create("fan_tiny_8_p4_hybrid", out="dense")
    assert not any(name.startswith(("norm.", "class_token")) for name in encoder.state_dict())
    assert isinstance(encoder, Fan)
    assert not encoder.position.paired


def test_dense_maps_are_those_after_their_blocks() -> None:
    encoder = tiny("plain", "dense").eval()
    seen: dict[int, Tensor] = {}
    for number in TINY["plain"].dense_blocks:
        encoder.blocks[number].register_forward_hook(lambda _m, _i, map_BHWC, n=number: seen.update({n: map_BHWC}))
    with torch.no_grad():
        maps = encoder(torch.rand(1, 3, 32, 48))
    assert len(maps) == 3
    assert all(torch.equal(m.permute(0, 2, 3, 1), seen[n]) for m, n in zip(maps, TINY["plain"].dense_blocks))


# ---- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("out", OUTS)
def test_gradients_reach_every_parameter_and_are_the_same_recomputed(kind: str, out: backbones.Out) -> None:
    encoders = [tiny(kind, out).train() for _ in range(2)]
    encoders[1].checkpoint_activations(True)
    torch.manual_seed(1)
    image = torch.rand(2, 3, 33, 47)
    for encoder in encoders:
        encoder.drop_paths(0.3)
        torch.manual_seed(2)
        total(encoder(image)).backward()  # type: ignore[no-untyped-call]
    for (name, kept), again in zip(encoders[0].named_parameters(), encoders[1].parameters()):
        assert kept.grad is not None, name
        assert again.grad is not None, name
        assert torch.equal(kept.grad, again.grad), name
    for (name, kept_buffer), buffer in zip(encoders[0].named_buffers(), encoders[1].buffers()):
        assert torch.equal(kept_buffer, buffer), f"{name} saw the batch twice"


def test_drop_path_is_the_same_in_every_block_and_rests_in_evaluation() -> None:
    encoder, image = tiny("plain", "features"), torch.rand(1, 3, 32, 32)
    exact = encoder.eval()(image)[0]
    encoder.drop_paths(0.25)
    assert {block.drop.drop_prob for block in encoder.blocks} == {0.25}
    assert torch.equal(encoder(image)[0], exact)


def test_an_encoder_without_stochastic_depth_says_so() -> None:
    encoder = backbones.create("timm/test_resnet")
    encoder.drop_paths(0.0)
    with pytest.raises(InputError, match=r"network\.backbone\.drop_path: timm/test_resnet has no stochastic depth"):
        encoder.drop_paths(0.1)


@pytest.mark.parametrize("kind", TINY)
def test_all_of_it_in_bf16_is_finite_and_near(kind: str) -> None:
    encoder, image = tiny(kind, "pyramid").eval(), torch.rand(1, 3, 48, 48)
    with torch.no_grad():
        exact = encoder(image)
        rough = encoder.to(torch.bfloat16)(image.to(torch.bfloat16))
    for a, b in zip(exact, rough):
        assert b.dtype == torch.bfloat16
        assert (a - b.float()).norm() <= 0.1 * a.norm()


# ---- weights ---------------------------------------------------------------------------------------------------------


def test_a_pyramids_own_layers_may_lack_but_nothing_else() -> None:
    given = tiny("plain", "embedding").state_dict()
    encoder = tiny("plain", "pyramid")
    before = encoder.finer.stride_8.weight.clone()
    encoder.adopt(given)
    assert torch.equal(encoder.blocks[2].token_scale, given["blocks.2.token_scale"])
    assert torch.equal(encoder.finer.stride_8.weight, before)
    del given["norm.weight"], given["blocks.0.token_scale"]
    with pytest.raises(ModelError, match=r"(?s)don't fit plain.*blocks.0.token_scale is missing; norm.weight is miss"):
        encoder.adopt(given)


def test_the_large_hybrids_names_and_its_deeper_stage() -> None:
    with torch.device("meta"):
        own = backbones.create("fan_large_16_p4_hybrid", out="embedding").state_dict()
    official = {official_name(name): tuple(t.shape) for name, t in own.items()}
    assert len(official) == len(own)
    assert official["patch_embed.backbone.stages.1.blocks.4.mlp.fc1.weight"] == (1024, 256, 1, 1)
    assert official["blocks.21.mlp.mlp_v.dwconv.bn.running_var"] == (1920,)
    assert official["cls_attn_blocks.1.attn.v.bias"] == (480,)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("class_token", "cls_token"),
        ("patches.convs.3.norm.weight", "patch_embed.proj.6.1.weight"),
        ("patches.project.bias", "patch_embed.proj.bias"),
        ("patches.convnext.stages.1.downsample.conv.weight", "patch_embed.backbone.stages.1.downsample.1.weight"),
        ("position.project.weight", "pos_embed.token_projection.weight"),
        ("blocks.23.token_attention.key_value.bias", "blocks.23.attn.kv.bias"),
        ("blocks.0.channel_attention.value_norm.bias", "blocks.0.mlp.norm_v.bias"),
        ("class_blocks.0", "cls_attn_blocks.0"),
    ],
)
def test_official_names_by_rule(ours: str, theirs: str) -> None:
    assert official_name(ours) == theirs


@pytest.mark.skipif(not PARITY.is_dir(), reason="the parity files are not here")
@pytest.mark.parametrize("name", ["fan_tiny_12_p16_224", "fan_tiny_8_p4_hybrid", "fan_small_12_p4_hybrid"])
def test_names_and_shapes_are_the_published_ones(name: str) -> None:
    stated = json.loads((PARITY / f"{name}.json").read_text())["state_dict"]
    with torch.device("meta"):
        own = backbones.create(name, out="embedding").state_dict()
    theirs = {entry["name"]: tuple(entry["shape"]) for entry in stated if not entry["name"].startswith("head.")}
    assert {official_name(n): tuple(t.shape) for n, t in own.items()} == theirs


# ---- export ----------------------------------------------------------------------------------------------------------


class Named(nn.Module):
    """An encoder with named outputs, as networks have them."""

    def __init__(self, encoder: Fan) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {f"map_{number}": each for number, each in enumerate(self.encoder(image))}


@pytest.mark.slow
@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("out", ["embedding", "pyramid", "dense"])
def test_an_exported_graph_takes_any_batch_and_size(kind: str, out: str) -> None:
    model = Named(tiny(kind, out)).eval()
    example = {"image": np.random.default_rng(0).random((2, 3, 64, 96), np.float32)}
    backend = OnnxRuntimeBackend(onnx_bytes(model, example, dynamic_size=True), "cpu")
    for shape in ((3, 3, 32, 32), (1, 3, 33, 47), (2, 3, 80, 64)):
        image = np.random.default_rng(1).random(shape, np.float32)
        exported = backend.run({"image": image})
        with torch.no_grad():
            expected = model(torch.from_numpy(image))
        for key, value in expected.items():
            assert exported[key].shape == tuple(value.shape)
            assert np.abs(exported[key] - value.numpy()).max() <= 1e-4 * max(1e-3, float(value.abs().max()))
