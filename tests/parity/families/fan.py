"""Published FAN classifiers."""

from __future__ import annotations

import re

from torch import Tensor

from espalier.backbones.families.fan import FAMILY
from espalier.backbones.families.fan.official import official_name
from parity.classifier import ClassifierFamily, FeatureRule


def _plane(map_: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(B, C, H, W), whether our map has its channels first or last."""
    return map_ if map_.shape[1] == shape[1] else map_.permute(0, 3, 1, 2)


def _tokens(map_: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(B, N, C), whether our map has its channels first or last."""
    return map_.flatten(1, 2) if map_.shape[-1] == shape[-1] else map_.flatten(2).transpose(1, 2)


def _same(tokens_BNC: Tensor, _shape: tuple[int, ...]) -> Tensor:
    return tokens_BNC


CHECKER = ClassifierFamily(
    FAMILY,
    prefix="fan_",
    official_name=official_name,
    features=(
        FeatureRule(r"patch_embed\.backbone\.stages\.(\d+)", r"patches.convnext.stages.\1", _plane),
        FeatureRule(r"patch_embed", "patches", _tokens),
        FeatureRule(r"pos_embed", "position", _plane),
        FeatureRule(r"blocks\.(\d+)", r"blocks.\1", _tokens),
        FeatureRule(r"cls_attn_blocks\.(\d+)", r"class_blocks.\1", _same),
    ),
    # A softmax ignores what is added to all that it compares.
    noise=(re.compile(r"blocks\.\d+\.mlp\.q\.bias"), re.compile(r"cls_attn_blocks\.\d+\.attn\.k\.bias")),
)
