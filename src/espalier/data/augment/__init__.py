"""Random changes of training pictures. They replace `Prepare.place`, never `Prepare.pixels`; validation sees none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.data.augment.colour import blurred, coloured, erased, noisy
from espalier.data.augment.crops import mirrored, placed, rotated
from espalier.data.augment.mixing import mix
from espalier.spec.sections import AugmentSpec
from espalier.vision.geometry import Geometry
from espalier.vision.prepare import Prepare

__all__ = ["augment", "mix"]


def augment(
    image_HWC: NDArray[Any], prepare: Prepare, spec: AugmentSpec, rng: np.random.Generator
) -> tuple[NDArray[Any], Geometry | None]:
    """The picture changed at random and at the network's input size (HWC), and the map from source to input pixels.

    The map is None when the picture was rotated, which a Geometry can't say. All randomness comes from `rng`.
    """
    image_in, geometry = placed(image_HWC, prepare, spec, rng)
    image_in, geometry = mirrored(image_in, geometry, spec, rng)
    degrees = float(rng.uniform(-1, 1)) * spec.rotate_deg
    if spec.rotate_deg:
        image_in = rotated(image_in, degrees)
    for change in (coloured, blurred, noisy, erased):
        image_in = change(image_in, spec, rng)
    return image_in, None if spec.rotate_deg else geometry
