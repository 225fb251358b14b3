"""Random changes of training pictures. They replace `Prepare.place`, never `Prepare.pixels`; validation sees none.

Which part and at which size (`placing`, `tiles`) → mirrored, rotated (`turns`) → light and colour (`colour`) →
prepare's padding. All of it comes out of the one generator that is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.data.augment.colour import blurred, coloured, erased, noisy
from espalier.data.augment.mixing import mix
from espalier.data.augment.placing import Suits, any_part, on_canvas, placed
from espalier.data.augment.tiles import tiled
from espalier.data.augment.turns import mirrored, rotated
from espalier.spec.training import AugmentSpec
from espalier.vision.batch import on_larger
from espalier.vision.geometry import Geometry
from espalier.vision.prepare import Prepare

__all__ = ["Changed", "Suits", "any_part", "augment", "mix", "mosaic"]


@dataclass(frozen=True)
class Changed:
    """A picture in the network's pixels (HWC), made of one or several, and the map from each of these onto it.

    `is_turned`: it was rotated too, which a Geometry can't say.
    """

    image_HWC: NDArray[Any]
    geometries: tuple[Geometry, ...]
    is_turned: bool = False


def augment(
    image_HWC: NDArray[Any],
    prepare: Prepare,
    spec: AugmentSpec,
    rng: np.random.Generator,
    *,
    suits: Suits = any_part,
) -> Changed:
    """The picture changed at random. A part of it that does not suit is drawn again, a few times."""
    image_in, geometry = placed(image_HWC, prepare.input(), spec, rng, suits=suits)
    return _finished(image_in, [geometry], prepare, spec, rng)


def mosaic(images: Sequence[NDArray[Any]], prepare: Prepare, spec: AugmentSpec, rng: np.random.Generator) -> Changed:
    """Four pictures as one, changed at random."""
    image_in, geometries = tiled(images, prepare.input(), spec, rng)
    return _finished(image_in, geometries, prepare, spec, rng)


def _finished(
    image_in: NDArray[Any], maps: Sequence[Geometry], prepare: Prepare, spec: AugmentSpec, rng: np.random.Generator
) -> Changed:
    """What is done to any picture once its content is placed; padding comes last, so that nothing touches it."""
    image_in, mirror = mirrored(image_in, spec, rng)
    degrees = float(rng.uniform(-1, 1)) * spec.rotate_deg
    if spec.rotate_deg:
        image_in = rotated(image_in, degrees)
    for change in (coloured, blurred, noisy, erased):
        image_in = change(image_in, spec, rng)
    image_in = on_canvas(image_in, prepare.input())
    size_hw = (image_in.shape[0], image_in.shape[1])
    geometries = tuple(on_larger(each.then(mirror), size_hw) for each in maps)
    return Changed(image_in, geometries, is_turned=bool(spec.rotate_deg))
