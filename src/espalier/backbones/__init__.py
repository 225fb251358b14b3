"""Image encoders by name: what they are, how to build them, and where their weights come from.

Importing this room imports no torch; building and describing an encoder does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from espalier.backbones.facts import BackboneFacts
from espalier.errors import MissingExtraError

if TYPE_CHECKING:
    from espalier.backbones.model import Backbone

Out = Literal["embedding", "features", "pyramid"]

__all__ = ["BackboneFacts", "Out", "create", "describe", "names"]


def create(
    name: str, *, channels_in: int = 3, out: Out = "features", size_hw: tuple[int, int] | None = None
) -> Backbone:
    """A fresh encoder. `out`: the pooled vector that the published classifier sees, the last map, or a map per stride.

    `size_hw` matters to encoders that are built for one input size. Raises InputError for an unknown name.
    """
    return _model("create")(name, channels_in=channels_in, out=out, size_hw=size_hw)  # type: ignore[no-any-return]


def describe(name: str) -> BackboneFacts:
    """The facts of an encoder, found without allocating it; `timm/NAME.TAG` gives the input of that tag's weights."""
    return _model("describe")(name)  # type: ignore[no-any-return]


def names() -> list[str]:
    """Every encoder there is, ours first."""
    return _model("names")()  # type: ignore[no-any-return]


def _model(attribute: str) -> Callable[..., Any]:
    """What the torch part of the room calls so, imported when first needed; hence its types are Any here."""
    try:
        from espalier.backbones import model
    except ModuleNotFoundError as error:
        raise MissingExtraError("train", "building a backbone") from error
    return getattr(model, attribute)  # type: ignore[no-any-return]
