"""The encoder as a module: any timm model, giving a pooled vector, its last map, or a pyramid of maps."""

from __future__ import annotations

import difflib
from functools import lru_cache
from typing import Any

import timm
import torch
from torch import Tensor, nn

from espalier.backbones.facts import BackboneFacts
from espalier.errors import InputError, Problem

FINEST_STRIDE = 4
_RESAMPLE = {"bilinear": "pillow_bilinear", "bicubic": "pillow_bicubic"}
_FIT = {"center": "centre_crop", "squash": "stretch", "border": "letterbox"}


class Backbone(nn.Module):
    """An encoder: an image (B, channels_in, H, W) to a list of tensors, channels first.

    The list holds one pooled vector (B, C), one map (B, C, H/s, W/s), or a map for each of `strides`. Parameters keep
    timm's names under `body.`, so published weights load by name.
    """

    body: Any  # a timm model, whose methods beyond nn.Module no type states

    def __init__(self, body: Any, facts: BackboneFacts, out: str) -> None:
        super().__init__()
        self.body = body
        self.out = out
        self.facts = facts
        self.channels, self.strides = _sizes(facts, out)
        if out == "pyramid":
            body.prune_intermediate_layers(list(facts.levels), prune_norm=True, prune_head=True)

    def forward(self, image_BCHW: Tensor) -> list[Tensor]:
        """The vector, the map or the maps that this encoder was created for."""
        if self.out == "pyramid":
            return self._levels(image_BCHW, list(self.facts.levels))
        if self.out == "features" and self.facts.tokens:
            return self._levels(image_BCHW, [self.facts.levels[-1]], norm=True)
        last = self.body.forward_features(image_BCHW)
        if self.out == "embedding":
            return [self.body.forward_head(last, pre_logits=True)]
        return [last.permute(0, 3, 1, 2) if self._channels_last else last]

    @property
    def _channels_last(self) -> bool:
        return str(getattr(self.body, "output_fmt", "NCHW")) == "NHWC"

    def _levels(self, image_BCHW: Tensor, levels: list[int], *, norm: bool = False) -> list[Tensor]:
        maps: list[Tensor] = self.body.forward_intermediates(
            image_BCHW, indices=levels, norm=norm, output_fmt="NCHW", intermediates_only=True
        )
        return maps


def create(name: str, *, channels_in: int, out: str, size_hw: tuple[int, int] | None) -> Backbone:
    """See `espalier.backbones.create`."""
    facts = describe(name)
    built_for = size_hw if facts.fixed_size and size_hw not in (None, facts.size_hw) else None
    return Backbone(_body(name, channels_in=channels_in, size_hw=built_for), facts, out)


@lru_cache(maxsize=64)
def describe(name: str) -> BackboneFacts:
    """See `espalier.backbones.describe`."""
    with torch.device("meta"):
        body = _body(name)
    config = body.pretrained_cfg
    height, width = config["input_size"][1:]
    last, embedding = _trace(body, (height, width))
    levels, channels, strides = _pyramid(body)
    return BackboneFacts(
        name=timm_name(name),
        params=sum(p.numel() for p in body.parameters()),
        channels=channels,
        strides=strides,
        levels=levels,
        feature_channels=channels[-1] if last.ndim == 3 else body.num_features,
        feature_stride=strides[-1] if last.ndim == 3 else round(height / last.shape[_height_axis(body)]),
        embedding=embedding.shape[-1],
        tokens=last.ndim == 3,
        fixed_size=bool(config.get("fixed_input_size")),
        size_hw=(height, width),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        resample=_RESAMPLE.get(config["interpolation"], "pillow_bicubic"),
        fit=_FIT.get(config["crop_mode"], "centre_crop"),
        crop_fraction=min(1.0, config["crop_pct"]),
    )


def names() -> list[str]:
    """See `espalier.backbones.names`."""
    return [f"timm/{name}" for name in timm.list_models()]


def timm_name(name: str) -> str:
    """The name as timm knows it. Raises InputError, with names that are close, when it knows none such."""
    bare = name.removeprefix("timm/")
    architecture, _, tag = bare.partition(".")
    if not timm.models.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        expected = f"any model name of timm {timm.__version__} works"
        fix = f"close to it: {', '.join(close)}" if close else ""
        raise InputError(Problem(f"backbone '{name}'", "there is no encoder of that name", expected, fix))
    if tag and bare not in timm.models.list_pretrained(f"{architecture}.*"):
        tags = ", ".join(sorted(timm.models.list_pretrained(f"{architecture}.*"))) or "none"
        raise InputError(f"backbone '{name}' has no weights tagged '{tag}'; it has: {tags}")
    return bare


def _body(name: str, *, channels_in: int = 3, size_hw: tuple[int, int] | None = None) -> Any:
    size: dict[str, Any] = {} if size_hw is None else {"img_size": size_hw}
    body = timm.create_model(timm_name(name), pretrained=False, num_classes=0, in_chans=channels_in, **size)
    if not hasattr(body, "forward_intermediates"):
        raise InputError(f"backbone '{name}' can't give intermediate maps in timm {timm.__version__}; choose another")
    return body


def _trace(body: Any, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The last map and the pooled vector as the meta device sees them: shapes without numbers."""
    body.eval()
    with torch.no_grad():
        last = body.forward_features(torch.empty(1, 3, *size_hw, device="meta"))
        return last, body.forward_head(last, pre_logits=True)


def _height_axis(body: Any) -> int:
    return 1 if str(getattr(body, "output_fmt", "NCHW")) == "NHWC" else 2


def _pyramid(body: Any) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Stage numbers, channels and strides of the last stage at each stride from 4 on."""
    stages = [(int(f["reduction"]), index, int(f["num_chs"])) for index, f in enumerate(body.feature_info)]
    last_of_stride = {stride: (index, channels) for stride, index, channels in stages}
    strides = tuple(sorted(stride for stride in last_of_stride if stride >= FINEST_STRIDE))
    indices, channels = zip(*(last_of_stride[s] for s in strides))
    return tuple(indices), tuple(channels), strides


def _sizes(facts: BackboneFacts, out: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if out == "embedding":
        return (facts.embedding,), ()
    if out == "features":
        return (facts.feature_channels,), (facts.feature_stride,)
    return facts.channels, facts.strides
