"""Building a timm encoder: which class of ours it gets, for which input, dilated or not."""

from __future__ import annotations

from typing import Any

from timm.models.resnet import ResNet

from espalier.backbones.families.timm.model import PREFIX, TimmBackbone, body_of, facts, plan
from espalier.backbones.families.timm.swin import Swin
from espalier.backbones.family import not_dilated
from espalier.errors import InputError

DILATED_STRIDE = 16
SWIN = f"{PREFIX}swin_"  # the first Swin; those of the second version are called swinv2


def build(
    name: str, *, channels_in: int, out: str, size_hw: tuple[int, int] | None, dilated: bool = False
) -> TimmBackbone:
    """A fresh encoder; one that is built for one input size is built for `size_hw`.

    A Swin's dense maps are those of its published detectors, for an input of any size.
    Raises InputError where the last stage can't be dilated and should be.
    """
    stated = facts(name)
    if dilated:
        return _dilated(name, channels_in=channels_in, out=out)
    if out == "dense" and name.startswith(SWIN):
        return Swin(body_of(name, channels_in=channels_in), stated, plan(name), out)
    built_for = size_hw if stated.fixed_size and size_hw not in (None, stated.size_hw) else None
    sized: dict[str, Any] = {} if built_for is None else {"img_size": built_for}
    return TimmBackbone(body_of(name, channels_in=channels_in, **sized), stated, plan(name), out)


def _dilated(name: str, *, channels_in: int, out: str) -> TimmBackbone:
    try:
        body = body_of(name, channels_in=channels_in, output_stride=DILATED_STRIDE)
    except TypeError:  # of a model that knows no such argument
        raise InputError(not_dilated(name)) from None
    if not isinstance(body, ResNet):
        raise InputError(not_dilated(name))
    backbone = TimmBackbone(body, facts(name), plan(name), out)
    backbone.strides = tuple(min(stride, DILATED_STRIDE) for stride in backbone.strides)
    return backbone
