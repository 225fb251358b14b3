"""Which encoder a published detector has, read off its tensors or named by its code's arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from espalier.errors import ModelError, Problem
from espalier.networks.published_names import Code, of_backbone

if TYPE_CHECKING:
    from torch import Tensor

BY_ARGUMENT = {
    "resnet50": "timm/resnet50",
    "resnet101": "timm/resnet101",
    "swin_T_224_1k": "timm/swin_tiny_patch4_window7_224",
    "swin_B_224_22k": "timm/swin_base_patch4_window7_224",
    "swin_B_384_22k": "timm/swin_base_patch4_window12_384",
    "swin_L_224_22k": "timm/swin_large_patch4_window7_224",
    "swin_L_384_22k": "timm/swin_large_patch4_window12_384",
}
"""The original codes' names of encoders, and ours."""

_RESNETS = {6: "timm/resnet50", 23: "timm/resnet101", 36: "timm/resnet152"}  # by the blocks of the third stage
_SWINS = {
    (96, 7, 6): "timm/swin_tiny_patch4_window7_224",
    (96, 7, 18): "timm/swin_small_patch4_window7_224",
    (128, 7, 18): "timm/swin_base_patch4_window7_224",
    (128, 12, 18): "timm/swin_base_patch4_window12_384",
    (192, 7, 18): "timm/swin_large_patch4_window7_224",
    (192, 12, 18): "timm/swin_large_patch4_window12_384",
}  # by width, window and the blocks of the third stage
_SWIN_SIZES = ("layers.0.blocks.0.attn.relative_position_bias_table", "patch_embed.proj.weight")
_BLOCKS = 40  # more than any stage has


def is_swin(backbone: str) -> bool:
    """Are its published names those of a Swin?"""
    return backbone.removeprefix("timm/").startswith("swin_")


def is_resnet(backbone: str) -> bool:
    """Are its published names those of a ResNet?"""
    return backbone.removeprefix("timm/").startswith(("resnet", "wide_resnet", "resnext", "test_resnet"))


def backbone_of(tensors: Mapping[str, Tensor], code: Code) -> str:
    """The encoder's name. Raises ModelError for one that is none of the published ones."""
    resnet = _count(tensors, code, "layer3.{}.conv1.weight", swin=False)
    if resnet in _RESNETS and _has(tensors, code, "layer3.0.conv3.weight", swin=False):
        return _RESNETS[resnet]
    table, embed = (tensors.get(of_backbone(f"backbone.body.{name}", code, swin=True)) for name in _SWIN_SIZES)
    if table is not None and embed is not None:
        window = (round(table.shape[0] ** 0.5) + 1) // 2
        key = (embed.shape[0], window, _count(tensors, code, "layers.2.blocks.{}.norm1.weight", swin=True))
        if key in _SWINS:
            return _SWINS[key]
    what = "its encoder is none that published detectors have"
    raise ModelError(Problem("", what, "a ResNet-50, -101, -152 or a Swin", "name it: --backbone NAME"))


def _count(tensors: Mapping[str, Tensor], code: Code, name: str, *, swin: bool) -> int:
    return next(n for n in range(_BLOCKS) if not _has(tensors, code, name.format(n), swin=swin))


def _has(tensors: Mapping[str, Tensor], code: Code, name: str, *, swin: bool) -> bool:
    return of_backbone(f"backbone.body.{name}", code, swin=swin) in tensors
