"""The published names of FAN's tensors, by rule: for every size alike, and for modules as for their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class _Part:
    """A module's or tensor's published name, and what is inside. An index inside is multiplied by `step`."""

    official: str
    inside: Mapping[str, _Part] = field(default_factory=dict)
    step: int = 1


def _parts(**official: str) -> dict[str, _Part]:
    return {ours: _Part(name) for ours, name in official.items()}


_CONV_NORM = _parts(conv="0", norm="1")
_NORM_CONV = _parts(norm="0", conv="1")

_CONVNEXT_BLOCK = _parts(scale="gamma", spatial="conv_dw", expand="mlp.fc1", reduce="mlp.fc2")
_CONVNEXT_STAGE = {"blocks": _Part("blocks", _CONVNEXT_BLOCK), "downsample": _Part("downsample", _NORM_CONV)}
_CONVNEXT = {"stem": _Part("stem", _CONV_NORM), "stages": _Part("stages", _CONVNEXT_STAGE)}

_LOCAL = _parts(first="conv1", norm="bn", second="conv2")
_VALUE = {**_parts(scale="gamma", expand="fc1", reduce="fc2"), "local": _Part("dwconv", _LOCAL)}
_BLOCK = {
    **_parts(token_norm="norm1", token_scale="gamma1", channel_norm="norm2", channel_scale="gamma2"),
    "token_attention": _Part("attn", _parts(query="q", key_value="kv", project="proj")),
    "channel_attention": _Part("mlp", {**_parts(query="q", value_norm="norm_v"), "value": _Part("mlp_v", _VALUE)}),
}
_CLASS_BLOCK = {
    **_parts(input_norm="norm1", attention_scale="gamma1", stream_norm="norm2", mlp_scale="gamma2"),
    "attention": _Part("attn", _parts(query="q", key="k", value="v", project="proj")),
    "mlp": _Part("mlp", _parts(expand="fc1", reduce="fc2")),
}
_ENCODER = {
    "class_token": _Part("cls_token"),
    "patches": _Part(
        "patch_embed",
        {
            "convs": _Part("proj", _CONV_NORM, step=2),  # an activation stands between two convolutions
            "convnext": _Part("backbone", _CONVNEXT),
            "project": _Part("proj"),
        },
    ),
    "position": _Part("pos_embed", _parts(project="token_projection")),
    "blocks": _Part("blocks", _BLOCK),
    "class_blocks": _Part("cls_attn_blocks", _CLASS_BLOCK),
}


def official_name(name: str) -> str:
    """The published name of one of our tensors or modules; what no rule names keeps its own name."""
    here, official = _Part("", _ENCODER), []
    for word in name.split("."):
        if word.isdigit():
            official.append(str(int(word) * here.step))
            continue
        here = here.inside.get(word, _Part(word))
        official.append(here.official)
    return ".".join(official)
