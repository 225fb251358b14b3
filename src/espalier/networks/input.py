"""From a resolved `network.input` to what networks and prepare need of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from espalier.errors import Problem, SpecError
from espalier.spec.sections import InputSpec, NetworkSpec

if TYPE_CHECKING:
    from espalier.vision.prepare import Prepare
    from espalier.vision.tiling import Tiling

_CHANNELS = {"rgb": 3, "grey": 1, "rgba": 4}
_OF_TILES = ("tile_px", "tile_overlap")  # what happens before a picture is prepared


def bands(spec: InputSpec) -> int:
    """The number of channels that the network is given; 3 while that is still open."""
    if isinstance(spec.bands, int):
        return spec.bands
    return _CHANNELS.get(spec.channels, 3)


def size_hw(spec: InputSpec) -> tuple[int, int] | None:
    """The input's size in pixels, or None while that is still open."""
    return None if isinstance(spec.size_hw, str) else spec.size_hw


def tiling(spec: InputSpec) -> Tiling | None:
    """How pictures are cut into tiles; None where they are shown whole, and while that is still open."""
    from espalier.vision.tiling import Tiling

    if not isinstance(spec.tile_px, int) or not spec.tile_px or isinstance(spec.tile_overlap, str):
        return None
    return Tiling(spec.tile_px, spec.tile_overlap)


def standard_prepare(spec: NetworkSpec) -> Prepare:
    """One image, fitted, resampled and normalised as `network.input` says. Raises SpecError while a value is `auto`."""
    from espalier.vision import prepare

    given = _settled(spec.input)
    return prepare.standard_prepare(
        given["size_hw"],
        channels=given["channels"],
        bands=given["bands"],
        fit=given["fit"],
        resample=given["resample"],
        crop_fraction=given["crop_fraction"],
        multiple=given["multiple"],
        value_range=given["value_range"],
        mean=given["mean"],
        std=given["std"],
    )


def _settled(spec: InputSpec) -> dict[str, Any]:
    """The values by name. Raises SpecError that names every one that is still open."""
    values = {name: getattr(spec, name) for name in type(spec).model_fields if name not in _OF_TILES}
    fix = "resolve the spec, or state the value"
    open_fields = [name for name, value in values.items() if value == "auto"]
    if open_fields:
        raise SpecError(*(Problem(f"network.input.{name}", "is still 'auto'", fix=fix) for name in open_fields))
    return values
