"""A picture's channels, brought to the ones a network takes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from espalier.errors import ImageError, Problem

Channels = Literal["rgb", "grey", "rgba", "bands", "auto"]
COUNT: dict[str, int] = {"rgb": 3, "grey": 1, "rgba": 4}
"""How many channels each word stands for; "bands" and "auto" are as many as the picture has."""


def as_channels(
    image_HWC: NDArray[Any], channels: Channels, *, bands: int | None = None, where: str = "picture"
) -> NDArray[Any]:
    """The picture with those channels, same depth. 1 band is grey, 2 grey and alpha, 3 RGB, 4 RGBA.

    `bands` is the number that "bands" must have. Raises ImageError when the picture can't be read that way.
    """
    have = image_HWC.shape[2]
    if channels in ("bands", "auto"):
        if bands is not None and have != bands:
            raise ImageError(Problem(where, f"the picture has {have} bands", f"the network takes {bands}"))
        return image_HWC
    if have == COUNT[channels]:
        return image_HWC
    if have > 4:
        fix = f"for a network that takes them all: network.input.bands={have}"
        raise ImageError(Problem(where, f"the picture has {have} bands, which are not {channels}", fix=fix))
    return _CONVERT[channels](image_HWC)


def _rgb(image_HWC: NDArray[Any]) -> NDArray[Any]:
    if image_HWC.shape[2] <= 2:
        return np.repeat(image_HWC[:, :, :1], 3, axis=2)
    return np.ascontiguousarray(image_HWC[:, :, :3])


def _rgba(image_HWC: NDArray[Any]) -> NDArray[Any]:
    top = np.iinfo(image_HWC.dtype).max
    alpha_HW1 = image_HWC[:, :, 1:2] if image_HWC.shape[2] == 2 else np.full_like(image_HWC[:, :, :1], top)
    return np.concatenate([_rgb(image_HWC), alpha_HW1], axis=2)


def _grey(image_HWC: NDArray[Any]) -> NDArray[Any]:
    if image_HWC.shape[2] == 2:
        return np.ascontiguousarray(image_HWC[:, :, :1])
    if image_HWC.dtype == np.uint8:
        from PIL import Image

        return np.asarray(Image.fromarray(_rgb(image_HWC)).convert("L"))[:, :, None]
    weights = np.array([19595, 38470, 7471], np.uint64)  # Pillow's ITU-R 601-2 in 16 bit fixed point
    luma = (image_HWC[:, :, :3] @ weights + np.uint64(0x8000)) >> np.uint64(16)
    return luma.astype(image_HWC.dtype)[:, :, None]


_CONVERT = {"rgb": _rgb, "rgba": _rgba, "grey": _grey}


def split_planes(image_HWC: NDArray[Any]) -> list[NDArray[Any]]:
    """Each channel as its own contiguous HW array.

    OpenCV's split is several times quicker than numpy's strides, which serve a machine that trains without OpenCV.
    """
    if image_HWC.shape[2] == 1:
        return [image_HWC[:, :, 0]]
    try:
        import cv2
    except ModuleNotFoundError:
        return [np.ascontiguousarray(image_HWC[:, :, c]) for c in range(image_HWC.shape[2])]
    return list(cv2.split(image_HWC))
