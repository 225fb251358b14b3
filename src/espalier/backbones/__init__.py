"""Image encoders by name: what they are, how to build them, and where their weights come from.

Importing this room imports no torch; building an encoder does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from espalier.backbones.facts import BackboneFacts
from espalier.backbones.family import Family, Out
from espalier.errors import InputError, Problem

if TYPE_CHECKING:
    from espalier.backbones.backbone import Backbone

__all__ = ["BackboneFacts", "Out", "create", "describe", "names"]


def create(
    name: str,
    *,
    channels_in: int = 3,
    out: Out = "features",
    size_hw: tuple[int, int] | None = None,
    dilated: bool = False,
) -> Backbone:
    """A fresh encoder. `out`: what the list that it gives holds, see `Backbone`.

    `size_hw` matters to encoders that are built for one input size. `dilated`: the last stage keeps its map's size.
    Raises InputError for an unknown name, an input smaller than the encoder takes, and a stage that can't be dilated.
    """
    family, canonical = _find(name)
    smallest = family.facts(canonical).smallest_px
    if size_hw is not None and min(size_hw) < smallest:
        what, expected = (
            f"the input is {size_hw[0]} x {size_hw[1]} px",
            f"{canonical} takes {smallest} px or more a side",
        )
        raise InputError(Problem("network.input.size_hw", what, expected))
    return family.build(canonical, channels_in=channels_in, out=out, size_hw=size_hw, dilated=dilated)


def describe(name: str) -> BackboneFacts:
    """The facts of an encoder, found without allocating it; `timm/NAME.TAG` gives the input of that tag's weights."""
    family, canonical = _find(name)
    return family.facts(canonical)


def names() -> list[str]:
    """Every encoder there is, ours first."""
    from espalier.backbones.registry import families

    return [name for family in families() for name in family.names()]


def _find(name: str) -> tuple[Family, str]:
    from espalier.backbones.registry import find

    return find(name)
