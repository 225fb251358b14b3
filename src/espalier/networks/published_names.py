"""Names of detectors with object queries in the published codes: the parts that all of them have.

Three codes name the same tensors: the papers' own repositories (`original`), detrex and mmdetection 3. A rule is a
pattern of one of our names and its template; the first that matches gives the name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

Code = Literal["original", "detrex", "mmdetection"]
CODES: tuple[Code, ...] = ("original", "detrex", "mmdetection")
Rules = Sequence[tuple[str, str]]

LEVEL_EMBED: Mapping[Code, str] = {
    "original": "transformer.level_embed",
    "detrex": "transformer.level_embeds",
    "mmdetection": "level_embed",
}
"""The name that tells a code from the others."""

_ATTENTION = r"sampling_offsets|attention_weights|value_proj|output_proj"

SHARED: Mapping[Code, Rules] = {
    "original": (
        (r"backbone\.norms\.(\d+)\.(.*)", r"backbone.0.norm\1.\2"),
        (r"levels\.projections\.(.*)", r"input_proj.\1"),
        (r"levels\.level_embed", LEVEL_EMBED["original"]),
        (r"(encoder\.layers\.\d+)\.ffn\.norm\.(.*)", r"transformer.\1.norm2.\2"),
        (r"(decoder\.layers\.\d+)\.ffn\.norm\.(.*)", r"transformer.\1.norm3.\2"),
        (r"((?:en|de)coder\.layers\.\d+)\.ffn\.(.*)", r"transformer.\1.\2"),
        (r"((?:en|de)coder\.layers\..*)", r"transformer.\1"),
    ),
    "detrex": (
        (r"backbone\.norms\.(\d+)\.(.*)", r"backbone.norm\1.\2"),
        (r"levels\.level_embed", LEVEL_EMBED["detrex"]),
        (rf"(encoder\.layers\.\d+)\.self_attn\.((?:{_ATTENTION})\..*)", r"transformer.\1.attentions.0.\2"),
        (r"(encoder\.layers\.\d+)\.norm1\.(.*)", r"transformer.\1.norms.0.\2"),
        (r"(encoder\.layers\.\d+)\.ffn\.norm\.(.*)", r"transformer.\1.norms.1.\2"),
        (r"(decoder\.layers\.\d+)\.self_attn\.(.*)", r"transformer.\1.attentions.0.attn.\2"),
        (r"(decoder\.layers\.\d+)\.cross_attn\.(.*)", r"transformer.\1.attentions.1.\2"),
        (r"(decoder\.layers\.\d+)\.norm2\.(.*)", r"transformer.\1.norms.0.\2"),
        (r"(decoder\.layers\.\d+)\.norm1\.(.*)", r"transformer.\1.norms.1.\2"),
        (r"(decoder\.layers\.\d+)\.ffn\.norm\.(.*)", r"transformer.\1.norms.2.\2"),
        (r"((?:en|de)coder\.layers\.\d+)\.ffn\.linear1\.(.*)", r"transformer.\1.ffns.0.layers.0.0.\2"),
        (r"((?:en|de)coder\.layers\.\d+)\.ffn\.linear2\.(.*)", r"transformer.\1.ffns.0.layers.1.\2"),
    ),
    "mmdetection": (
        (r"backbone\.norms\.(\d+)\.(.*)", r"backbone.norm\1.\2"),
        (r"levels\.level_embed", LEVEL_EMBED["mmdetection"]),
        (r"(encoder\.layers\.\d+)\.norm1\.(.*)", r"\1.norms.0.\2"),
        (r"(encoder\.layers\.\d+)\.ffn\.norm\.(.*)", r"\1.norms.1.\2"),
        (r"(encoder\.layers\.\d+\.self_attn\..*)", r"\1"),
        (r"(decoder\.layers\.\d+)\.self_attn\.(.*)", r"\1.self_attn.attn.\2"),
        (r"(decoder\.layers\.\d+\.cross_attn\..*)", r"\1"),
        (r"(decoder\.layers\.\d+)\.norm2\.(.*)", r"\1.norms.0.\2"),
        (r"(decoder\.layers\.\d+)\.norm1\.(.*)", r"\1.norms.1.\2"),
        (r"(decoder\.layers\.\d+)\.ffn\.norm\.(.*)", r"\1.norms.2.\2"),
        (r"((?:en|de)coder\.layers\.\d+)\.ffn\.linear1\.(.*)", r"\1.ffn.layers.0.0.\2"),
        (r"((?:en|de)coder\.layers\.\d+)\.ffn\.linear2\.(.*)", r"\1.ffn.layers.1.\2"),
    ),
}

_SWIN: Mapping[Code, Rules] = {
    "original": ((r"(.*)", r"backbone.0.\1"),),
    "detrex": ((r"(.*)", r"backbone.\1"),),
    "mmdetection": (
        (r"patch_embed\.proj\.(.*)", r"backbone.patch_embed.projection.\1"),
        (r"patch_embed\.norm\.(.*)", r"backbone.patch_embed.norm.\1"),
        (r"layers\.(\d+)\.blocks\.(\d+)\.attn\.(.*)", r"backbone.stages.\1.blocks.\2.attn.w_msa.\3"),
        (r"layers\.(\d+)\.blocks\.(\d+)\.mlp\.fc1\.(.*)", r"backbone.stages.\1.blocks.\2.ffn.layers.0.0.\3"),
        (r"layers\.(\d+)\.blocks\.(\d+)\.mlp\.fc2\.(.*)", r"backbone.stages.\1.blocks.\2.ffn.layers.1.\3"),
        (r"layers\.(\d+)\.(.*)", r"backbone.stages.\1.\2"),
    ),
}

_RESNET: Mapping[Code, Rules] = {
    "original": ((r"(.*)", r"backbone.0.body.\1"),),
    "detrex": (
        (r"conv1\.(.*)", r"backbone.stem.conv1.\1"),
        (r"bn1\.(.*)", r"backbone.stem.conv1.norm.\1"),
        (r"(layer\d)\.(\d+)\.downsample\.0\.(.*)", r"backbone.\1.\2.shortcut.\3"),
        (r"(layer\d)\.(\d+)\.downsample\.1\.(.*)", r"backbone.\1.\2.shortcut.norm.\3"),
        (r"(layer\d)\.(\d+)\.bn(\d)\.(.*)", r"backbone.\1.\2.conv\3.norm.\4"),
        (r"(layer\d\..*)", r"backbone.\1"),
    ),
    "mmdetection": ((r"(.*)", r"backbone.\1"),),
}


def renamed(own: str, rules: Rules) -> str | None:
    """The name by the first rule that matches, None where none does."""
    for pattern, template in rules:
        found = re.fullmatch(pattern, own)
        if found:
            return found.expand(template)
    return None


def of_backbone(own: str, code: Code, *, swin: bool) -> str:
    """The published name of one of the encoder's tensors `backbone.body.…`."""
    name = own.removeprefix("backbone.body.")
    if swin:
        # published stages end with their down-sampler, timm's begin with it
        at_end = re.sub(r"layers\.(\d+)\.downsample\.", lambda m: f"layers.{int(m[1]) - 1}.downsample.", name)
        return str(renamed(at_end, _SWIN[code]))
    given = str(renamed(name, _RESNET[code]))
    if code == "detrex":  # its stages are res2 to res5
        return re.sub(r"backbone\.layer(\d)", lambda m: f"backbone.res{int(m[1]) + 1}", given)
    return given


def of_projection(own: str, code: Code, given: int) -> str:
    """The published name of `levels.projections.N.…`; `given` of the levels are maps of the backbone."""
    if code == "original":
        return str(renamed(own, SHARED[code]))
    found = re.fullmatch(r"levels\.projections\.(\d+)\.(\d)\.(.*)", own)
    assert found is not None
    level, norm = int(found[1]), "norm" if code == "detrex" else "gn"
    place = f"convs.{level}" if level < given else f"extra_convs.{level - given}"
    return f"neck.{place}.{'conv' if found[2] == '0' else norm}.{found[3]}"


def mmdetection_head(kind: str, place: int, rest: str) -> str:
    """Box heads are a list of linear layers and activations in turn."""
    if kind == "class":
        return f"bbox_head.cls_branches.{place}.{rest}"
    return re.sub(r"layers\.(\d)\.", lambda m: f"bbox_head.reg_branches.{place}.{2 * int(m[1])}.", rest)
