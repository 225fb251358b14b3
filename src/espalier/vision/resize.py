"""The only resize in the house: each rule gives the numbers of the library it is named after, within 1 LSB."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from espalier.errors import ImageError

Resample = Literal["pillow_bilinear", "pillow_bicubic", "cv2_linear", "area", "nearest"]
RESAMPLES: tuple[str, ...] = get_args(Resample)
"""pillow_* are antialiased (Pillow, torchvision's PIL path); cv2_linear is not; area is OpenCV's INTER_AREA; nearest
is Pillow's and serves label maps."""

_PILLOW = {
    "pillow_bilinear": Image.Resampling.BILINEAR,
    "pillow_bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}
_CV2 = {"cv2_linear": "INTER_LINEAR", "area": "INTER_AREA"}
Box = tuple[float, float, float, float]


def resize(
    image_HWC: NDArray[Any], size_hw: tuple[int, int], resample: Resample, *, box: Box | None = None
) -> NDArray[Any]:
    """The picture, or its part `box` (xyxy, whole source pixels), at `size_hw`, with its own channels and depth.

    The box is cut out first, so nothing around it is seen. Every channel is resampled by itself: alpha does not weigh
    the colours. Raises ImageError for a picture or box without pixels.
    """
    if box is not None:
        left, top, right, bottom = (round(edge) for edge in box)
        image_HWC = image_HWC[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    height, width, channels = image_HWC.shape
    if height < 1 or width < 1:
        raise ImageError(f"a picture of {width} × {height} px can't be resized")
    if (height, width) == tuple(size_hw):
        return image_HWC
    if resample in _CV2:
        return _by_cv2(image_HWC, size_hw, _CV2[resample])
    rule = _PILLOW[resample]
    if image_HWC.dtype == np.uint8 and channels in _PILLOW_MODE:
        return _by_pillow(image_HWC, size_hw, rule, _PILLOW_MODE[channels])
    return np.stack([_plane_by_pillow(image_HWC[:, :, c], size_hw, rule) for c in range(channels)], axis=2)


def _by_cv2(image_HWC: NDArray[Any], size_hw: tuple[int, int], rule: str) -> NDArray[Any]:
    import cv2

    size_wh = (size_hw[1], size_hw[0])
    channels = image_HWC.shape[2]
    if channels <= 4:
        resized = np.asarray(cv2.resize(image_HWC, size_wh, interpolation=getattr(cv2, rule)))
        return resized.reshape(*size_hw, channels)
    parts = [image_HWC[:, :, c : c + 4] for c in range(0, channels, 4)]  # INTER_AREA takes four at most
    return np.concatenate([_by_cv2(np.ascontiguousarray(part), size_hw, rule) for part in parts], axis=2)


_PILLOW_MODE = {1: "L", 3: "RGB", 4: "CMYK"}
"""By channels; four are plain channels, since as RGBA Pillow would let alpha weigh the colours."""


def _by_pillow(
    image_HWC: NDArray[np.uint8], size_hw: tuple[int, int], rule: Image.Resampling, mode: str
) -> NDArray[np.uint8]:
    height, width, channels = image_HWC.shape
    packed = np.ascontiguousarray(image_HWC)
    picture = Image.frombuffer(mode, (width, height), packed, "raw", mode, 0, 1)
    return np.asarray(picture.resize((size_hw[1], size_hw[0]), rule)).reshape(*size_hw, channels)


def _plane_by_pillow(plane_HW: NDArray[Any], size_hw: tuple[int, int], rule: Image.Resampling) -> NDArray[Any]:
    """One channel of any depth. 16 bit goes through Pillow's float path and is rounded once, at the end."""
    if plane_HW.dtype == np.uint8 or rule == Image.Resampling.NEAREST:
        picture = Image.fromarray(np.ascontiguousarray(plane_HW))
        return np.asarray(picture.resize((size_hw[1], size_hw[0]), rule))
    out = np.asarray(Image.fromarray(plane_HW.astype(np.float32)).resize((size_hw[1], size_hw[0]), rule))
    rounded = np.clip(np.rint(out), 0, np.iinfo(plane_HW.dtype).max)
    return np.asarray(rounded, plane_HW.dtype)
