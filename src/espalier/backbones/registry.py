"""Families of encoders, found by their folders. Those of the house are asked first."""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache

from espalier.backbones import families as room
from espalier.backbones.family import Family, HouseFamily, close_to
from espalier.backbones.weights.records import WeightRecord
from espalier.errors import InputError, Problem


@lru_cache(maxsize=1)
def families() -> tuple[Family, ...]:
    """Every family, the house's own first."""
    found = [m.name for m in pkgutil.iter_modules(room.__path__) if m.ispkg]
    cards = [importlib.import_module(f"{room.__name__}.{name}").FAMILY for name in found]
    return tuple(sorted(cards, key=lambda family: (not isinstance(family, HouseFamily), family.name)))


def find(name: str) -> tuple[Family, str]:
    """The family of an encoder, and the encoder's canonical name. Raises InputError with names that are close."""
    for family in families():
        canonical = family.canonical(name)
        if canonical is not None:
            return family, canonical
    close = [near for family in families() for near in close_to(name, family.names())]
    expected = "one of the house's encoders, or any model of timm as timm/NAME"
    fix = f"close to it: {', '.join(close[:4])}" if close else ""
    raise InputError(Problem(f"backbone '{name}'", "there is no encoder of that name", expected, fix))


def untagged(name: str) -> str:
    """The encoder's canonical name without a tag of weights. Raises InputError for an unknown encoder."""
    return find(name)[1].partition(".")[0]


def published(name: str) -> tuple[WeightRecord, ...]:
    """The publisher's weights of an encoder, or of its tag; none for what is no encoder."""
    try:
        family, canonical = find(name)
    except InputError:
        return ()
    return tuple(family.published(canonical))
