"""MiT's own pieces, by hand; what every family is asked is in tests/contract/test_backbones.py."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from espalier import backbones
from espalier.backbones.conversion import converted
from espalier.backbones.families.mit import FAMILY, facts_of
from espalier.backbones.families.mit.blocks import Attention, Block, MixFeedForward
from espalier.backbones.families.mit.model import Mit
from espalier.backbones.families.mit.official import from_transformers, official_name
from espalier.backbones.families.mit.sizes import Size
from espalier.errors import ModelError

SMALL = Size((8, 16, 20, 16), (1, 2, 1, 1), 0)


def picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def encoder(out: str = "pyramid", channels_in: int = 3) -> Mit:
    torch.manual_seed(0)
    return Mit(SMALL, facts_of("small", SMALL), channels_in=channels_in, out=out).eval()


def test_attention_is_that_of_the_formula() -> None:
    """Two heads; a key for each 2 × 2 positions, and none for the fifth column."""
    attention, map_BHWC = Attention(8, 2, 2).double(), picture(1, 4, 5, 8).double()
    reduce = attention.reduce
    assert reduce is not None
    assert reduce.bias is not None
    squares = map_BHWC[0, :, :4].reshape(2, 2, 2, 2, 8).permute(0, 2, 4, 1, 3).reshape(4, -1)
    fewer = attention.norm(squares @ reduce.weight.reshape(8, -1).T + reduce.bias)
    query = attention.query(map_BHWC[0]).reshape(20, 2, 4)
    key, value = (part.reshape(4, 2, 4) for part in attention.key_value(fewer).split(8, dim=-1))
    share = (torch.einsum("nhd,mhd->hnm", query, key) / math.sqrt(4)).softmax(-1)
    expected = attention.project(torch.einsum("hnm,mhd->nhd", share, value).reshape(20, 8))
    torch.testing.assert_close(attention(map_BHWC).reshape(20, 8), expected, rtol=1e-12, atol=1e-12)


def test_the_feed_forward_sees_the_eight_neighbours_and_no_more() -> None:
    mix, map_BHWC = MixFeedForward(4, 8), picture(1, 7, 7, 4)
    changed = map_BHWC.clone()
    changed[0, 3, 3] += 1
    differs = (mix(map_BHWC) != mix(changed)).any(-1)[0]
    assert differs.nonzero().tolist() == [[y, x] for y in (2, 3, 4) for x in (2, 3, 4)]


def test_the_norms_have_the_two_published_epsilons() -> None:
    """1e-6 in blocks and after stages, 1e-5 in patches and reduced keys."""
    eps = {name: module.eps for name, module in encoder().named_modules() if isinstance(module, nn.LayerNorm)}
    wide = {name for name, value in eps.items() if value == 1e-5}
    assert wide == {name for name in eps if name.endswith(("embed.norm", "attention.norm"))}
    assert {value for name, value in eps.items() if name not in wide} == {1e-6}


def test_stochastic_depth_rises_from_none() -> None:
    own = encoder()
    own.drop_paths(0.4)
    rates = [block.drop.drop_prob for block in own.modules() if isinstance(block, Block)]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("own", "official"),
    [
        ("stages.0.embed.conv.weight", "patch_embed1.proj.weight"),
        ("stages.3.embed.norm.bias", "patch_embed4.norm.bias"),
        ("stages.1.blocks.2.norm_attention.weight", "block2.2.norm1.weight"),
        ("stages.1.blocks.0.attention.key_value.bias", "block2.0.attn.kv.bias"),
        ("stages.0.blocks.1.attention.reduce.weight", "block1.1.attn.sr.weight"),
        ("stages.0.blocks.1.attention.norm.weight", "block1.1.attn.norm.weight"),
        ("stages.2.blocks.0.mix.depthwise.bias", "block3.0.mlp.dwconv.dwconv.bias"),
        ("stages.2.norm.weight", "norm3.weight"),
    ],
)
def test_official_names(own: str, official: str) -> None:
    assert official_name(own) == official


BEFORE_5 = {
    "patch_embed1.proj.": "encoder.patch_embeddings.0.proj.",
    "patch_embed1.norm.": "encoder.patch_embeddings.0.layer_norm.",
    "block1.0.norm1.": "encoder.block.0.0.layer_norm_1.",
    "block1.0.norm2.": "encoder.block.0.0.layer_norm_2.",
    "block1.0.attn.q.": "encoder.block.0.0.attention.self.query.",
    "block1.0.attn.k.": "encoder.block.0.0.attention.self.key.",
    "block1.0.attn.v.": "encoder.block.0.0.attention.self.value.",
    "block1.0.attn.sr.": "encoder.block.0.0.attention.self.sr.",
    "block1.0.attn.norm.": "encoder.block.0.0.attention.self.layer_norm.",
    "block1.0.attn.proj.": "encoder.block.0.0.attention.output.dense.",
    "block1.0.mlp.fc1.": "encoder.block.0.0.mlp.dense1.",
    "block1.0.mlp.fc2.": "encoder.block.0.0.mlp.dense2.",
    "block1.0.mlp.dwconv.dwconv.": "encoder.block.0.0.mlp.dwconv.dwconv.",
    "norm1.": "encoder.layer_norm.0.",
}
SINCE_5 = {
    "patch_embed1.proj.": "stages.0.patch_embeddings.proj.",
    "patch_embed1.norm.": "stages.0.patch_embeddings.layer_norm.",
    "block1.0.norm1.": "stages.0.blocks.0.layernorm_before.",
    "block1.0.norm2.": "stages.0.blocks.0.layernorm_after.",
    "block1.0.attn.q.": "stages.0.blocks.0.attention.q_proj.",
    "block1.0.attn.k.": "stages.0.blocks.0.attention.k_proj.",
    "block1.0.attn.v.": "stages.0.blocks.0.attention.v_proj.",
    "block1.0.attn.sr.": "stages.0.blocks.0.attention.sequence_reduction.sequence_reduction.",
    "block1.0.attn.norm.": "stages.0.blocks.0.attention.sequence_reduction.layer_norm.",
    "block1.0.attn.proj.": "stages.0.blocks.0.attention.o_proj.",
    "block1.0.mlp.fc1.": "stages.0.blocks.0.mlp.fc1.",
    "block1.0.mlp.fc2.": "stages.0.blocks.0.mlp.fc2.",
    "block1.0.mlp.dwconv.dwconv.": "stages.0.blocks.0.mlp.dwconv.dwconv.",
    "norm1.": "stages.0.layer_norm.",
}


@pytest.mark.parametrize("names", [BEFORE_5, SINCE_5], ids=["before 5", "since 5"])
@pytest.mark.parametrize("prefix", ["", "segformer."])
def test_names_of_transformers_are_brought_to_the_published_ones(names: dict[str, str], prefix: str) -> None:
    theirs = {f"{prefix}{name}weight": torch.full((2, 3), float(n)) for n, name in enumerate(names.values())}
    found = from_transformers({**theirs, "classifier.bias": torch.zeros(5)})
    order = list(names)
    key, value = (float(order.index(f"block1.0.attn.{part}.")) for part in "kv")
    expected = {f"{n}weight": torch.full((2, 3), float(order.index(n))) for n in order if ".attn.k." not in n}
    expected.pop("block1.0.attn.v.weight")
    both = found["block1.0.attn.kv.weight"]
    assert both[:, 0].tolist() == [key, key, value, value]
    assert {n: t[0, 0] for n, t in found.items() if n.endswith("weight") and ".kv." not in n} == {
        n: t[0, 0] for n, t in expected.items()
    }
    assert found["head.bias"].shape == (5,)


def test_a_key_without_its_value_is_told() -> None:
    names = ("stages.0.patch_embeddings.proj.weight", "stages.0.blocks.0.attention.k_proj.weight")
    with pytest.raises(ModelError, match=r"block1\.0\.attn\.v\.weight is missing"):
        from_transformers({name: torch.zeros(2, 2) for name in names})


def test_a_file_of_transformers_is_read_for_its_encoder() -> None:
    torch.manual_seed(0)
    source = backbones.create("mit_b0", out="embedding").state_dict()
    theirs: dict[str, Tensor] = {}
    for own, tensor in source.items():
        name, stage = official_name(own), int(own.split(".")[1])
        for part, ours in SINCE_5.items():
            here = part.replace("1", str(stage + 1), 1) if part[0] in "pbn" else part
            block = name.split(".")[1] if name.startswith("block") else "0"
            here, there = here.replace(".0.", f".{block}.", 1), ours.replace("s.0.", f"s.{stage}.", 1)
            there = there.replace("blocks.0.", f"blocks.{block}.")
            if name.startswith(here):
                theirs[f"segformer.{there}{name.removeprefix(here)}"] = tensor
        if ".attn.kv." in name:
            start = f"segformer.stages.{stage}.blocks.{name.split('.')[1]}.attention."
            kind = name.rpartition(".")[2]
            theirs[f"{start}k_proj.{kind}"], theirs[f"{start}v_proj.{kind}"] = tensor.chunk(2)
    mapped = converted({**theirs, "classifier.bias": torch.zeros(7)}, "mit_b0", where="f", name_it="")
    assert all(torch.equal(mapped.encoder[own], tensor) for own, tensor in source.items())
    assert set(mapped.head) == {"head.bias"}


def test_every_size_has_published_weights() -> None:
    assert all(FAMILY.published(name)[0].restricted for name in FAMILY.names())
