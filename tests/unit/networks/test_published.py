"""Files of published detectors: names of three codes, settings read off tensors, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import pytest
import torch
from torch import Tensor

from espalier.errors import ModelError
from espalier.networks.coco_names import class_names
from espalier.networks.deformable_detr.official import FAMILY as DEFORMABLE
from espalier.networks.dino.official import FAMILY as DINO
from espalier.networks.published import Family
from espalier.networks.published_names import CODES, Code

SMALL: dict[str, Any] = {
    "backbone": {"name": "timm/resnet50", "weights": "none"}, "levels": 4, "width": 32, "hidden": 32, "heads": 8,
    "encoder_points": 2, "decoder_points": 3, "encoder_layers": 1, "decoder_layers": 2, "queries": 7,
}  # fmt: skip
OF_CODE: dict[Code, dict[str, Any]] = {
    "original": {},
    "detrex": {"share_class_head": False, "share_box_head": False, "position_temperature": 10000.0,
               "centred_positions": True},
    "mmdetection": {"share_class_head": False, "share_box_head": False},
}  # fmt: skip


@lru_cache(maxsize=8)
def written(of: Family, code: Code, **values: Any) -> tuple[Any, Mapping[str, Tensor], dict[str, Tensor]]:
    """A spec, our tensors, and the file that the code would have written of them."""
    torch.manual_seed(0)
    spec = of.spec({**SMALL, **values})
    own = dict(of.build(spec, class_names(3)).state_dict())
    own = {name: value for name, value in own.items() if "num_batches" not in name}
    return spec, own, {name: value for n, value in own.items() for name in of.names(n, spec, code)}


@pytest.mark.parametrize("code", CODES)
def test_dino_of_each_code_is_read_back(code: Code) -> None:
    spec, own, file = written(DINO, code, **OF_CODE[code])
    assert DINO.code(file) == code
    assert DEFORMABLE.code(file) is None
    read = DINO.read(file, {})
    assert DINO.spec(read.network) == spec
    assert read.tensors.keys() == own.keys()
    assert all(torch.equal(read.tensors[name], own[name]) for name in own)
    assert (read.code, list(read.left)) == (code, [])


@pytest.mark.parametrize(("refine", "two_stage"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("code", CODES)
def test_deformable_detr_of_each_code_is_read_back(code: Code, refine: bool, two_stage: bool) -> None:
    spec, own, file = written(DEFORMABLE, code, refine=refine, two_stage=two_stage)
    assert DINO.code(file) is None
    read = DEFORMABLE.read(file, {})
    told = DEFORMABLE.spec(read.network)
    assert told.model_copy(update={"queries": spec.queries}) == spec  # no tensor of two stages tells the queries
    assert all(torch.equal(read.tensors[name], own[name]) for name in own)


@pytest.mark.parametrize(
    ("code", "own", "published"),
    [
        ("original", "decoder.layers.1.ffn.norm.bias", "transformer.decoder.layers.1.norm3.bias"),
        ("original", "backbone.body.layer4.0.conv1.weight", "backbone.0.body.layer4.0.conv1.weight"),
        ("original", "selection.box_head.layers.2.bias", "transformer.enc_out_bbox_embed.layers.2.bias"),
        ("detrex", "backbone.body.bn1.running_var", "backbone.stem.conv1.norm.running_var"),
        ("detrex", "backbone.body.layer1.0.downsample.1.weight", "backbone.res2.0.shortcut.norm.weight"),
        ("detrex", "levels.projections.3.1.bias", "neck.extra_convs.0.norm.bias"),
        ("detrex", "decoder.layers.0.self_attn.in_proj_bias",
         "transformer.decoder.layers.0.attentions.0.attn.in_proj_bias"),
        ("mmdetection", "levels.projections.0.0.weight", "neck.convs.0.conv.weight"),
        ("mmdetection", "decoder.box_heads.1.layers.1.weight", "bbox_head.reg_branches.1.2.weight"),
        ("mmdetection", "encoder.layers.0.ffn.linear2.weight", "encoder.layers.0.ffn.layers.1.weight"),
        ("mmdetection", "denoising.label.weight", "dn_query_generator.label_embedding.weight"),
    ],
)  # fmt: skip
def test_names_that_the_codes_give(code: Code, own: str, published: str) -> None:
    assert published in DINO.names(own, DINO.spec({**SMALL, **OF_CODE[code]}), code)


def test_a_shared_head_has_as_many_names_as_layers_and_each_twice() -> None:
    names = DINO.names("decoder.class_heads.0.bias", DINO.spec(SMALL), "original")
    assert names == [
        "transformer.decoder.class_embed.0.bias", "class_embed.0.bias",
        "transformer.decoder.class_embed.1.bias", "class_embed.1.bias",
    ]  # fmt: skip


def test_a_swin_s_stages_end_with_the_down_sampler() -> None:
    spec = DINO.spec({**SMALL, "backbone": {"name": "timm/swin_tiny_patch4_window7_224"}})
    own = "backbone.body.layers.1.downsample.reduction.weight"
    assert DINO.names(own, spec, "original") == ["backbone.0.layers.0.downsample.reduction.weight"]
    assert DINO.names(own, spec, "mmdetection") == ["backbone.stages.0.downsample.reduction.weight"]
    assert DINO.names("backbone.norms.2.weight", spec, "original") == ["backbone.0.norm2.weight"]


def test_what_mmdetection_leaves_out_is_zero() -> None:
    """Its projections have no bias, since a norm follows; its labels have no row that is never used."""
    _, own, file = written(DINO, "mmdetection", **OF_CODE["mmdetection"])
    less = {name: value for name, value in file.items() if not name.endswith("conv.bias") or "neck" not in name}
    label = "dn_query_generator.label_embedding.weight"
    read = DINO.read({**less, label: file[label][:-1]}, {})
    assert not read.tensors["levels.projections.0.0.bias"].any()
    assert torch.equal(read.tensors["denoising.label.weight"][:-1], own["denoising.label.weight"][:-1])


def test_what_does_not_fit_is_named() -> None:
    _, _, file = written(DINO, "original")
    lacking = {name: value for name, value in file.items() if name != "transformer.enc_output.bias"}
    with pytest.raises(ModelError, match=r"1 of \d+ tensors are missing.*: transformer.enc_output.bias"):
        DINO.read(lacking, {})
    with pytest.raises(ModelError, match="hold different values"):
        DINO.read({**file, "class_embed.0.bias": file["class_embed.0.bias"] + 1}, {})
    assert DINO.read({**file, "extra": torch.zeros(1)}, {}).left == ["extra"]


def test_rows_of_coco() -> None:
    ids = class_names(91)
    assert (ids[1], ids[90], ids[12], len(set(ids))) == ("person", "toothbrush", "unused_12", 91)
    assert class_names(80) == tuple(name for name in ids if not name.startswith("unused_"))
    assert class_names(2) == ("class_0", "class_1")
