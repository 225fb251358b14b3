"""What the published weights call our tensors: NVlabs' names, and those of Hugging Face's files brought to them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from espalier.errors import ModelError

_STAGES = (
    (r"stages\.(\d+)\.embed\.conv\.", "patch_embed{}.proj."),
    (r"stages\.(\d+)\.embed\.", "patch_embed{}."),
    (r"stages\.(\d+)\.blocks\.", "block{}."),
    (r"stages\.(\d+)\.norm\.", "norm{}."),
)
_PARTS = {
    "norm_attention": "norm1",
    "attention": "attn",
    "query": "q",
    "key_value": "kv",
    "project": "proj",
    "reduce": "sr",
    "norm_mix": "norm2",
    "mix": "mlp",
    "expand": "fc1",
    "depthwise": "dwconv.dwconv",
    "shrink": "fc2",
}

# transformers' names before 5 and since, each to a pattern of the published ones; K and V become one tensor below.
_TRANSFORMERS = (
    (r"encoder\.patch_embeddings\.(\d+)\.proj\.(.*)", "patch_embed{}.proj.{}"),
    (r"encoder\.patch_embeddings\.(\d+)\.layer_norm\.(.*)", "patch_embed{}.norm.{}"),
    (r"encoder\.block\.(\d+)\.(.*)", "block{}.{}"),
    (r"encoder\.layer_norm\.(\d+)\.(.*)", "norm{}.{}"),
    (r"stages\.(\d+)\.patch_embeddings\.proj\.(.*)", "patch_embed{}.proj.{}"),
    (r"stages\.(\d+)\.patch_embeddings\.layer_norm\.(.*)", "patch_embed{}.norm.{}"),
    (r"stages\.(\d+)\.blocks\.(.*)", "block{}.{}"),
    (r"stages\.(\d+)\.layer_norm\.(.*)", "norm{}.{}"),
)
_OF_BLOCKS = {
    "layer_norm_1": "norm1",
    "layernorm_before": "norm1",
    "layer_norm_2": "norm2",
    "layernorm_after": "norm2",
    "attention.self.query": "attn.q",
    "attention.q_proj": "attn.q",
    "attention.self.key": "attn.k",
    "attention.k_proj": "attn.k",
    "attention.self.value": "attn.v",
    "attention.v_proj": "attn.v",
    "attention.self.sr": "attn.sr",
    "attention.sequence_reduction.sequence_reduction": "attn.sr",
    "attention.self.layer_norm": "attn.norm",
    "attention.sequence_reduction.layer_norm": "attn.norm",
    "attention.output.dense": "attn.proj",
    "attention.o_proj": "attn.proj",
    "mlp.dense1": "mlp.fc1",
    "mlp.dense2": "mlp.fc2",
}
_KEY, _VALUE, _BOTH = ".attn.k.", ".attn.v.", ".attn.kv."


def official_name(name: str) -> str:
    """The published name of one of our tensors: stages count from 1 there, the parts have names of their own."""
    for pattern, start in _STAGES:
        match = re.match(pattern, name)
        if match:
            rest = name[match.end() :].split(".")
            return start.format(int(match[1]) + 1) + ".".join(_PARTS.get(part, part) for part in rest)
    return name


def from_transformers(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Tensors with the names of transformers' SegFormer (4 and 5) under the published ones; others as they are.

    Names that are none of the encoder's stay. Raises ModelError for keys without their values.
    """
    if not any("patch_embeddings." in name for name in tensors):
        return tensors
    named = {_published(name): tensor for name, tensor in tensors.items()}
    return {name.replace(_KEY, _BOTH): _joined(name, named) for name in named if _VALUE not in name}


def _joined(name: str, named: Mapping[str, Tensor]) -> Tensor:
    """A tensor; of keys, with the values after them, as the published layer has both."""
    if _KEY not in name:
        return named[name]
    value = named.get(name.replace(_KEY, _VALUE))
    if value is None:
        raise ModelError(f"{name.replace(_KEY, _VALUE)} is missing")
    return torch.cat([named[name], value])


def _published(name: str) -> str:
    own = name.removeprefix("segformer.")
    for pattern, published in _TRANSFORMERS:
        match = re.fullmatch(pattern, own)
        if match:
            return published.format(int(match[1]) + 1, _of_block(match[2]))
    return own.replace("classifier.", "head.") if own.startswith("classifier.") else own


def _of_block(rest: str) -> str:
    number, _, part = rest.partition(".")
    layer, _, kind = part.rpartition(".")
    return f"{number}.{_OF_BLOCKS[layer]}.{kind}" if layer in _OF_BLOCKS else rest
