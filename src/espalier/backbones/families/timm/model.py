"""Any timm model as an encoder: a pooled vector, its last map, or a pyramid of maps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import timm
import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models import adapt_input_conv
from torch import Tensor

from espalier.backbones.backbone import Backbone
from espalier.backbones.facts import BackboneFacts
from espalier.errors import InputError, ModelError, Problem

PREFIX = "timm/"
COUNTERS = "num_batches_tracked"
FINEST_STRIDE = 4
_RESAMPLE = {"bilinear": "pillow_bilinear", "bicubic": "pillow_bicubic"}
_FIT = {"center": "centre_crop", "squash": "stretch", "border": "letterbox"}


class Plan(NamedTuple):
    """What of timm's is needed to build an encoder beyond its facts."""

    levels: tuple[int, ...]  # which of timm's stages are the pyramid's levels
    tokens: bool  # the last map leaves the encoder as a sequence


class TimmBackbone(Backbone):
    """A timm model. Parameters keep timm's names under `body.`, so published weights load by name."""

    body: Any  # a timm model, whose methods beyond nn.Module no type states

    def __init__(self, body: Any, facts: BackboneFacts, plan: Plan, out: str) -> None:
        super().__init__(facts, out)
        self.body = body
        self.plan = plan
        if out in ("pyramid", "dense"):
            body.prune_intermediate_layers(list(plan.levels), prune_norm=True, prune_head=True)

    def embedding(self, image_BCHW: Tensor) -> Tensor:
        """What timm's classifier sees."""
        vector: Tensor = self.body.forward_head(self.body.forward_features(image_BCHW), pre_logits=True)
        return vector

    def features(self, image_BCHW: Tensor) -> Tensor:
        """The last map, tokens put back into rows and columns."""
        if self.plan.tokens:
            return self._levels(image_BCHW, [self.plan.levels[-1]], norm=True)[0]
        last: Tensor = self.body.forward_features(image_BCHW)
        return last.permute(0, 3, 1, 2) if channels_last(self.body) else last

    def pyramid(self, image_BCHW: Tensor) -> list[Tensor]:
        """The last map of each stride from 4 on."""
        return self._levels(image_BCHW, list(self.plan.levels))

    def checkpoint_activations(self, on: bool) -> None:
        """timm's own. Raises ModelError for a model that has none."""
        try:
            self.body.set_grad_checkpointing(on)
        except (AttributeError, AssertionError) as error:  # timm's models have no such method, or assert that it is off
            what = f"backbone '{self.facts.name}' can't compute its activations again in timm {timm.__version__}"
            raise ModelError(what) from error

    def adopt(self, tensors: Mapping[str, Tensor]) -> None:
        """Fills the encoder. Input layers adapt to its number of bands, position embeddings to its input size."""
        own = self.body.state_dict()
        wanted = {name for name in own if not name.endswith(COUNTERS)}
        self.body.load_state_dict(
            {name: self._adapted(name, tensors[name], own[name]) for name in wanted}, strict=False
        )

    def _levels(self, image_BCHW: Tensor, levels: list[int], *, norm: bool = False) -> list[Tensor]:
        maps: list[Tensor] = self.body.forward_intermediates(
            image_BCHW, indices=levels, norm=norm, output_fmt="NCHW", intermediates_only=True
        )
        return maps

    def _adapted(self, name: str, given: Tensor, own: Tensor) -> Tensor:
        if given.shape == own.shape:
            return given
        if name == str(self.body.pretrained_cfg.get("first_conv", "")) + ".weight" and given.ndim == 4:
            adapted: Tensor = adapt_input_conv(own.shape[1], given)
            return adapted
        if name == "pos_embed":
            prefix = 0 if getattr(self.body, "no_embed_class", False) else self.body.num_prefix_tokens
            grid = list(self.body.patch_embed.grid_size)
            resampled: Tensor = resample_abs_pos_embed(given, grid, num_prefix_tokens=prefix)
            return resampled
        expected, fix = f"{tuple(own.shape)}", "give the encoder the input that its weights are for"
        raise ModelError(Problem(f"{self.facts.name}: {name}", f"weights of shape {tuple(given.shape)}", expected, fix))


def facts(name: str) -> BackboneFacts:
    """The facts by the canonical name, found on the meta device: shapes without numbers."""
    return _described(name)[0]


def plan(name: str) -> Plan:
    """What is needed to build it, by the canonical name."""
    return _described(name)[1]


def names() -> list[str]:
    """Every model of timm."""
    return [f"{PREFIX}{name}" for name in timm.list_models()]


def canonical(name: str) -> str | None:
    """`timm/NAME` or `timm/NAME.TAG`; None when timm has no such model. Raises InputError for an unknown tag."""
    bare = name.removeprefix(PREFIX)
    architecture, _, tag = bare.partition(".")
    if not timm.models.is_model(architecture):
        return None
    if tag and bare not in timm.models.list_pretrained(f"{architecture}.*"):
        tags = ", ".join(sorted(timm.models.list_pretrained(f"{architecture}.*"))) or "none"
        raise InputError(f"backbone '{name}' has no weights tagged '{tag}'; it has: {tags}")
    return PREFIX + bare


def channels_last(body: Any) -> bool:
    """Do this model's maps leave it with the channels last?"""
    return str(getattr(body, "output_fmt", "NCHW")) == "NHWC"


@lru_cache(maxsize=64)
def _described(name: str) -> tuple[BackboneFacts, Plan]:
    with torch.device("meta"):
        body = body_of(name)
    config = body.pretrained_cfg
    height, width = config["input_size"][1:]
    last, embedding = _trace(body, (height, width))
    levels, channels, strides = _pyramid(body)
    tokens = last.ndim == 3
    stated = BackboneFacts(
        name=name,
        params=sum(p.numel() for p in body.parameters()),
        channels=channels,
        strides=strides,
        feature_channels=channels[-1] if tokens else body.num_features,
        feature_stride=strides[-1] if tokens else round(height / last.shape[1 if channels_last(body) else 2]),
        embedding=embedding.shape[-1],
        size_hw=(height, width),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        resample=_RESAMPLE.get(config["interpolation"], "pillow_bicubic"),
        fit=_FIT.get(config["crop_mode"], "centre_crop"),
        crop_fraction=min(1.0, config["crop_pct"]),
        fixed_size=bool(config.get("fixed_input_size")),
    )
    return stated, Plan(levels, tokens)


def body_of(name: str, *, channels_in: int = 3, **more: Any) -> Any:
    """timm's model without its classifier. Raises InputError for one that gives no intermediate maps."""
    bare = name.removeprefix(PREFIX)
    body = timm.create_model(bare, pretrained=False, num_classes=0, in_chans=channels_in, **more)
    if not hasattr(body, "forward_intermediates"):
        raise InputError(f"backbone '{name}' can't give intermediate maps in timm {timm.__version__}; choose another")
    return body


def _trace(body: Any, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The last map and the pooled vector as the meta device sees them: shapes without numbers."""
    body.eval()
    with torch.no_grad():
        last = body.forward_features(torch.empty(1, 3, *size_hw, device="meta"))
        return last, body.forward_head(last, pre_logits=True)


def _pyramid(body: Any) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Stage numbers, channels and strides of the last stage at each stride from 4 on."""
    stages = [(int(f["reduction"]), index, int(f["num_chs"])) for index, f in enumerate(body.feature_info)]
    last_of_stride = {stride: (index, channels) for stride, index, channels in stages}
    strides = tuple(sorted(stride for stride in last_of_stride if stride >= FINEST_STRIDE))
    indices, channels = zip(*(last_of_stride[s] for s in strides))
    return tuple(indices), tuple(channels), strides
