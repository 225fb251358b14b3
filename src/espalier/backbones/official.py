"""Published tensors of one of the house's families under the encoder's own names."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from espalier.backbones.converted import ConvertedTensors
from espalier.backbones.family import HouseFamily
from espalier.errors import ModelError, Problem

_COUNTERS = "num_batches_tracked"
Rule = Callable[[str], str]


def convert(tensors: Mapping[str, Tensor], family: HouseFamily, name: str) -> ConvertedTensors:
    """By our own names when the file has them all, else by the official ones; counters of batch norms may lack.

    Raises ModelError, with the first differences, when they are of another family or size.
    """
    tensors, wanted = translated(tensors, family), shapes(family, name)
    rules: dict[str, Rule] = {"name": str, "official name": official_rule(family)}
    for how, named in rules.items():
        if all(named(own) in tensors and tensors[named(own)].shape == shape for own, shape in wanted.items()):
            official_of = {own: named(own) for own in wanted}
            left = _left(tensors, official_of, family)
            more = _of_the_encoder(left, official_of)
            if more:
                what = f"the {len(tensors)} tensors hold all of {name}, and more: they are of a larger encoder"
                raise ModelError(Problem("", what, f"not of it: {', '.join(more[:2])}"))
            return ConvertedTensors({own: tensors[official_of[own]] for own in wanted}, left, how)
    raise ModelError(_mismatch(tensors, wanted, rules, name))


def translated(tensors: Mapping[str, Tensor], family: HouseFamily) -> Mapping[str, Tensor]:
    """Tensors that another code named, under the official names; others as they are."""
    if not family.translate:
        return tensors
    brought: Mapping[str, Tensor] = _function(family.translate)(tensors)
    return brought


def shapes(family: HouseFamily, name: str) -> dict[str, torch.Size]:
    """Our names and shapes of the encoder that gives the embedding."""
    with torch.device("meta"):
        encoder = family.build(name, channels_in=3, out="embedding", size_hw=None)
    return {own: value.shape for own, value in encoder.state_dict().items() if not own.endswith(_COUNTERS)}


def official_names(family: HouseFamily, name: str) -> dict[str, str]:
    """Our names of the encoder's tensors to the published ones."""
    named = official_rule(family)
    return {own: named(own) for own in shapes(family, name)}


def official_rule(family: HouseFamily) -> Rule:
    """What gives the published name of one of the family's tensors."""
    rule: Rule = _function(family.official_name)
    return rule


def _function(path: str) -> Any:
    module, _, function = path.partition(":")
    return getattr(importlib.import_module(module), function)


def _left(tensors: Mapping[str, Tensor], official_of: Mapping[str, str], family: HouseFamily) -> dict[str, Tensor]:
    """What the file has beyond the encoder: its head."""
    used, computed = set(official_of.values()), (*family.derived, _COUNTERS)
    return {name: tensor for name, tensor in tensors.items() if name not in used and not name.endswith(computed)}


def _of_the_encoder(left: Mapping[str, Tensor], official_of: Mapping[str, str]) -> list[str]:
    """Tensors that lie in the encoder's own parts: a deeper one of the same widths has all of a shallower, and more."""
    parts = {name.partition(".")[0] for name in official_of.values()}
    return [name for name in left if name.partition(".")[0] in parts]


def _mismatch(
    tensors: Mapping[str, Tensor],
    wanted: Mapping[str, torch.Size],
    rules: Mapping[str, Rule],
    name: str,
) -> Problem:
    """The first differences, by whichever names the file has more of."""
    named = max(rules.values(), key=lambda rule: sum(rule(own) in tensors for own in wanted))
    missing = [named(own) for own in wanted if named(own) not in tensors]
    differing = [own for own, shape in wanted.items() if named(own) in tensors and tensors[named(own)].shape != shape]
    first = [f"{name} is missing" for name in missing[:2]]
    first += [f"{named(own)} is {tuple(tensors[named(own)].shape)}, not {tuple(wanted[own])}" for own in differing[:2]]
    return Problem("", f"the {len(tensors)} tensors don't fit the {len(wanted)} of {name}", "; ".join(first))
