"""Light and colour: too bright, too pale, too strong, too flat."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.vision.corruptions.values import light


def brightness(image_HWC: NDArray[Any], severity: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Its value (of hue, saturation and value) raised, up to full."""
    image = light(image_HWC)
    value = image.max(axis=2, keepdims=True)
    raised = np.minimum(value + np.float32((0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1]), np.float32(1))
    black = value == 0
    return np.asarray(np.where(black, raised, image * (raised / np.where(black, 1, value))), np.float32)


def saturate(image_HWC: NDArray[Any], severity: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Colours paler or stronger: saturation times a factor, plus a little. One band has no colour and stays."""
    times, plus = ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2))[severity - 1]
    image = light(image_HWC)
    value, least = image.max(axis=2, keepdims=True), image.min(axis=2, keepdims=True)
    spread = value - least
    grey = spread <= 0
    saturation = spread / np.where(grey, 1, value)
    wanted = np.clip(saturation * np.float32(times) + np.float32(plus), 0, 1)
    coloured = value - (value - image) * (wanted / np.where(grey, 1, saturation))
    if image.shape[2] == 3:  # a grey pixel's hue is 0, which is red
        reddened = value * np.concatenate([np.ones_like(wanted), 1 - wanted, 1 - wanted], axis=2)
        return np.asarray(np.where(grey, reddened, coloured), np.float32)
    return np.asarray(np.where(grey, image, coloured), np.float32)


def contrast(image_HWC: NDArray[Any], severity: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Each band drawn towards its mean."""
    kept = np.float32((0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1])
    image = light(image_HWC)
    mean: NDArray[np.float32] = image.mean(axis=(0, 1), keepdims=True, dtype=np.float64).astype(np.float32)
    return (image - mean) * kept + mean
