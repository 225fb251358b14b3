"""Noise: what a sensor adds when there is little light, and what a broken one does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.vision.corruptions.values import light


def gaussian_noise(image_HWC: NDArray[Any], severity: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Normal noise added to each value."""
    scale = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    return light(image_HWC) + _normal(image_HWC.shape, scale, rng)


def shot_noise(image_HWC: NDArray[Any], severity: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Each value counted in photons, of which there are few."""
    photons = (60, 25, 12, 5, 3)[severity - 1]
    counted = rng.poisson(light(image_HWC) * np.float32(photons))
    return counted.astype(np.float32) * np.float32(1 / photons)


def impulse_noise(image_HWC: NDArray[Any], severity: int, rng: np.random.Generator) -> NDArray[Any]:
    """Salt and pepper: a share of the values is black or full, each band by itself."""
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    drawn = rng.random(image_HWC.shape, dtype=np.float32)
    salted = np.where(drawn < share / 2, np.asarray(0, image_HWC.dtype), image_HWC)
    return np.where((drawn >= share / 2) & (drawn < share), np.iinfo(image_HWC.dtype).max, salted).astype(
        image_HWC.dtype
    )


def speckle_noise(image_HWC: NDArray[Any], severity: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Normal noise that grows with the value."""
    scale = (0.15, 0.2, 0.35, 0.45, 0.6)[severity - 1]
    return light(image_HWC) * (1 + _normal(image_HWC.shape, scale, rng))


def _normal(shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)
