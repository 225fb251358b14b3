"""What the published weights call our tensors."""

from __future__ import annotations

_PARTS = {
    "stem": "patch_embed",
    "embed": "proj",
    "down": "conv_down",
    "norm_in": "norm1",
    "norm_out": "norm2",
    "reduce": "reduction",
    "mix": "conv",
    "depthwise": "0",
    "gate": "2.fc",
    "squeeze": "0",
    "excite": "2",
    "pointwise": "3",
    "query": "q_global_gen",
    "mixes": "to_q_global",
    "norm_attention": "norm1",
    "attention": "attn",
    "bias_table": "relative_position_bias_table",
    "project": "proj",
    "scale_attention": "gamma1",
    "norm_mlp": "norm2",
    "expand": "fc1",
    "shrink": "fc2",
    "scale_mlp": "gamma2",
}


def official_name(name: str) -> str:
    """The published name of one of our tensors: part by part; a down-sampler belongs to the level before it."""
    parts = name.split(".")
    if parts[0] == "downs":
        parts = ["levels", parts[1], "downsample", *parts[2:]]
    if parts[0] == "levels" and parts[2] == "query":
        parts.insert(5, "mix")  # levels.N.query.mixes.K.mix.…
    return ".".join(_PARTS.get(part, part) for part in parts)
