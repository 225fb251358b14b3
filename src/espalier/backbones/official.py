"""Published tensors of one of the house's families under the encoder's own names."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from espalier.backbones.converted import ConvertedTensors
from espalier.backbones.family import HouseFamily
from espalier.errors import ModelError, Problem

_COUNTERS = "num_batches_tracked"


def convert(tensors: Mapping[str, Tensor], family: HouseFamily, name: str) -> ConvertedTensors:
    """By our own names when the file has them all, else by the official ones; counters of batch norms may lack.

    Raises ModelError, with what they do fit, when they are of another family or size.
    """
    wanted = shapes(family, name)
    for how, named in (("name", str), ("official name", _rule(family))):
        if all(named(own) in tensors and tensors[named(own)].shape == shape for own, shape in wanted.items()):
            return _split(tensors, {own: named(own) for own in wanted}, family, how)
    raise ModelError(_mismatch(tensors, wanted, family, name))


def shapes(family: HouseFamily, name: str) -> dict[str, torch.Size]:
    """Our names and shapes of the encoder that gives the embedding."""
    with torch.device("meta"):
        encoder = family.build(name, channels_in=3, out="embedding", size_hw=None)
    return {own: value.shape for own, value in encoder.state_dict().items() if not own.endswith(_COUNTERS)}


def _rule(family: HouseFamily) -> Callable[[str], str]:
    module, _, function = family.official_name.partition(":")
    rule: Callable[[str], str] = getattr(importlib.import_module(module), function)
    return rule


def _split(
    tensors: Mapping[str, Tensor], official_of: Mapping[str, str], family: HouseFamily, how: str
) -> ConvertedTensors:
    used = set(official_of.values())
    left = {
        name: t for name, t in tensors.items() if name not in used and not name.endswith((*family.derived, _COUNTERS))
    }
    return ConvertedTensors({own: tensors[name] for own, name in official_of.items()}, left, how)


def _mismatch(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, torch.Size], family: HouseFamily, name: str
) -> Problem:
    named = _rule(family)
    missing = [named(own) for own in wanted if named(own) not in tensors]
    differing = [own for own, shape in wanted.items() if named(own) in tensors and tensors[named(own)].shape != shape]
    first = [f"{name} is missing" for name in missing[:2]]
    first += [f"{named(own)} is {tuple(tensors[named(own)].shape)}, not {tuple(wanted[own])}" for own in differing[:2]]
    what = f"the {len(tensors)} tensors don't fit the {len(wanted)} of {name}"
    return Problem("", what, "; ".join(first), "name the encoder that the weights are for (network.backbone.name)")
