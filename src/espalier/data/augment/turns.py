"""Random mirror images and rotations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.spec.training import AugmentSpec
from espalier.vision.geometry import Geometry


def mirrored(image_HWC: NDArray[Any], spec: AugmentSpec, rng: np.random.Generator) -> tuple[NDArray[Any], Geometry]:
    """The picture, perhaps mirrored left to right and upside down, and the map onto it."""
    across, down = bool(rng.random() < spec.hflip), bool(rng.random() < spec.vflip)
    size_hw = (image_HWC.shape[0], image_HWC.shape[1])
    image_HWC = image_HWC[:: -1 if down else 1, :: -1 if across else 1]
    return image_HWC, Geometry.flip(size_hw, horizontal=across, vertical=down)


def rotated(image_HWC: NDArray[Any], degrees: float) -> NDArray[Any]:
    """The picture turned about its centre; what comes in from outside is its mirror image."""
    import cv2

    height, width, bands = image_HWC.shape
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    planes = [
        cv2.warpAffine(np.ascontiguousarray(image_HWC[:, :, c : c + 4]), turn, (width, height),
                       flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101).reshape(height, width, -1)
        for c in range(0, bands, 4)
    ]  # fmt: skip
    return planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
