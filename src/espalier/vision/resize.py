"""The only resize in the house: each rule gives the numbers of the library it is named after, within 1 LSB."""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

import cv2
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
_CV2 = {"cv2_linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}
Box = tuple[float, float, float, float]


def resize(
    image_HWC: NDArray[Any], size_hw: tuple[int, int], resample: Resample, *, box: Box | None = None
) -> NDArray[Any]:
    """The picture, or its part `box` (xyxy, source pixels), at `size_hw`; same channels and depth (uint8, uint16).

    Every channel is resampled by itself: alpha does not weigh the colours. With the pillow rules the box may be
    fractional and pixels around it still feed the antialiasing, so resizing a box equals cropping the resized whole;
    the cv2 rules cut the box first and take whole pixels only. Raises ImageError for a picture without pixels.
    """
    height, width = image_HWC.shape[:2]
    if height < 1 or width < 1:
        raise ImageError(f"a picture of {width}×{height} px can't be resized")
    whole = (0.0, 0.0, float(width), float(height))
    box = whole if box is None else box
    if box == whole and (height, width) == tuple(size_hw):
        return image_HWC
    if resample in _CV2:
        return _by_cv2(image_HWC, size_hw, _CV2[resample], box)
    return _by_pillow(image_HWC, size_hw, _PILLOW[resample], box)


def _by_cv2(image_HWC: NDArray[Any], size_hw: tuple[int, int], rule: int, box: Box) -> NDArray[Any]:
    left, top, right, bottom = (round(edge) for edge in box)
    part_HWC = image_HWC[top:bottom, left:right]
    out = cv2.resize(part_HWC, (size_hw[1], size_hw[0]), interpolation=rule)
    return out.reshape(*size_hw, image_HWC.shape[2])


def _by_pillow(image_HWC: NDArray[Any], size_hw: tuple[int, int], rule: Image.Resampling, box: Box) -> NDArray[Any]:
    size_wh = (size_hw[1], size_hw[0])
    if image_HWC.dtype == np.uint8 and image_HWC.shape[2] in (3, 4):
        mode = "RGB" if image_HWC.shape[2] == 3 else "CMYK"  # four plain channels; as RGBA Pillow would premultiply
        picture = Image.frombuffer(mode, image_HWC.shape[1::-1], np.ascontiguousarray(image_HWC), "raw", mode, 0, 1)
        return np.asarray(picture.resize(size_wh, rule, box=box))
    planes = [_plane_by_pillow(image_HWC[:, :, c], size_wh, rule, box) for c in range(image_HWC.shape[2])]
    return np.stack(planes, axis=2)


def _plane_by_pillow(
    plane_HW: NDArray[Any], size_wh: tuple[int, int], rule: Image.Resampling, box: Box
) -> NDArray[Any]:
    if plane_HW.dtype == np.uint8 or rule == Image.Resampling.NEAREST:
        return np.asarray(Image.fromarray(np.ascontiguousarray(plane_HW)).resize(size_wh, rule, box=box))
    # 16 bit: Pillow's float path, rounded once at the end
    out = np.asarray(Image.fromarray(plane_HW.astype(np.float32)).resize(size_wh, rule, box=box))
    top = np.iinfo(plane_HW.dtype).max
    return cast("NDArray[Any]", np.clip(np.rint(out), 0, top).astype(plane_HW.dtype))
