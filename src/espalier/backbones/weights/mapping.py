"""Published tensors onto an encoder: by name, else by order when all shapes agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import timm
import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models import adapt_input_conv
from torch import Tensor

from espalier.backbones.model import Backbone, timm_name
from espalier.errors import ModelError, Problem

_COUNTERS = "num_batches_tracked"


@dataclass(frozen=True)
class Mapped:
    """The tensors under the encoder's own names. `classifier` is what the file has beyond the encoder."""

    encoder: Mapping[str, Tensor]
    classifier: Mapping[str, Tensor] = field(default_factory=dict)
    how: Literal["name", "order"] = "name"


def map_tensors(tensors: Mapping[str, Tensor], architecture: str) -> Mapped:
    """A file's tensors under timm's names for this architecture.

    They go by name when the file has every name of the encoder in its shape; else by their order, when they are as
    many as the whole published model has and all shapes agree. Counters of batch norms are left out: some files lack
    them. Raises ModelError, with the first differences, when neither fits.
    """
    given = {name: tensor for name, tensor in tensors.items() if not name.endswith(_COUNTERS)}
    wanted = _shapes(architecture, classes=0)
    if all(name in given and _fits(name, given[name], shape) for name, shape in wanted.items()):
        return _split(given, wanted, "name")
    ordered = _by_order(given, architecture)
    if ordered is not None:
        return _split(ordered, wanted, "order")
    raise ModelError(_mismatch(given, wanted, architecture))


def load_encoder(backbone: Backbone, mapped: Mapped) -> None:
    """Fills the encoder. Input layers adapt to its number of bands, position embeddings to its input size."""
    own = backbone.body.state_dict()
    wanted = {name for name in own if not name.endswith(_COUNTERS)}
    first = str(backbone.body.pretrained_cfg.get("first_conv", "")) + ".weight"
    state = {name: _adapted(name, mapped.encoder[name], own[name], first, backbone) for name in wanted}
    backbone.body.load_state_dict(state, strict=False)


def _adapted(name: str, given: Tensor, own: Tensor, first: str, backbone: Backbone) -> Tensor:
    if given.shape == own.shape:
        return given
    if name == first and given.ndim == 4:
        adapted: Tensor = adapt_input_conv(own.shape[1], given)
        return adapted
    if name == "pos_embed":
        grid = backbone.body.patch_embed.grid_size
        prefix = 0 if getattr(backbone.body, "no_embed_class", False) else backbone.body.num_prefix_tokens
        resampled: Tensor = resample_abs_pos_embed(given, list(grid), num_prefix_tokens=prefix)
        return resampled
    expected, fix = f"{tuple(own.shape)}", "give the encoder the input that its weights are for"
    raise ModelError(Problem(f"{backbone.facts.name}: {name}", f"weights of shape {tuple(given.shape)}", expected, fix))


def _shapes(architecture: str, *, classes: int) -> dict[str, torch.Size]:
    with torch.device("meta"):
        model = timm.create_model(timm_name(architecture), pretrained=False, num_classes=classes)
    return {name: value.shape for name, value in model.state_dict().items() if not name.endswith(_COUNTERS)}


def _fits(name: str, tensor: Tensor, shape: torch.Size) -> bool:
    """Equal shapes; a position embedding may have been trained at another size."""
    return tensor.shape == shape or (name == "pos_embed" and tensor.shape[-1] == shape[-1])


def _by_order(given: Mapping[str, Tensor], architecture: str) -> dict[str, Tensor] | None:
    """The tensors renamed in the order of the published model, or None when a shape or the number differs."""
    for classes in {_classes(given), 0}:
        wanted = _shapes(architecture, classes=classes)
        if [tuple(t.shape) for t in given.values()] == [tuple(shape) for shape in wanted.values()]:
            return dict(zip(wanted, given.values()))
    return None


def _classes(given: Mapping[str, Tensor]) -> int:
    """The classes of a published classifier: rows of the last tensor, its bias."""
    last = list(given.values())[-1]
    return int(last.shape[0]) if last.ndim == 1 else 0


def _split(tensors: Mapping[str, Tensor], wanted: Mapping[str, object], how: Literal["name", "order"]) -> Mapped:
    encoder = {name: tensors[name] for name in wanted}
    return Mapped(encoder, {name: t for name, t in tensors.items() if name not in wanted}, how)


def _mismatch(given: Mapping[str, Tensor], wanted: Mapping[str, torch.Size], architecture: str) -> Problem:
    missing = [name for name in wanted if name not in given]
    differing = [name for name in wanted if name in given and not _fits(name, given[name], wanted[name])]
    what = f"the {len(given)} tensors don't fit the {len(wanted)} of {architecture}"
    first = [f"{name} is missing" for name in missing[:2]]
    first += [f"{name} is {tuple(given[name].shape)}, not {tuple(wanted[name])}" for name in differing[:2]]
    return Problem("", what, "; ".join(first), "name the encoder that the weights are for (network.backbone.name)")
