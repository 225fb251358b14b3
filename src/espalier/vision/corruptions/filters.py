"""Blurs, correlations and warps of pictures with any number of bands and any size; OpenCV does the work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Border = Literal["nearest", "reflect", "mirror"]
"""scipy's words: nearest aaa|abcd|ddd, reflect cba|abcd|dcb, mirror dcb|abcd|cba."""

LARGEST_REMAP_PX = 32_766  # OpenCV's remap counts pixels in 16 bits


def gaussian(
    image_HWC: NDArray[np.float32], sigma: float | tuple[float, float], *, truncate: float = 4.0, border: Border
) -> NDArray[np.float32]:
    """The picture blurred; `sigma` in px (down, across), the kernel cut at `truncate` sigmas as scipy cuts it."""
    import cv2

    down, across = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    x_K, y_K = (cv2.getGaussianKernel(2 * int(truncate * s + 0.5) + 1, max(s, 1e-6)) for s in (across, down))
    return _by_four(image_HWC, lambda part: cv2.sepFilter2D(part, -1, x_K, y_K, borderType=_border(border)))


def correlate(
    image_HWC: NDArray[np.float32], kernel_HW: NDArray[np.float32], anchor_yx: tuple[int, int], *, border: Border
) -> NDArray[np.float32]:
    """Each pixel the weighted sum of its neighbours; `anchor_yx` is the pixel's own place in the kernel."""
    import cv2

    anchor_xy = (anchor_yx[1], anchor_yx[0])
    return _by_four(
        image_HWC, lambda part: cv2.filter2D(part, -1, kernel_HW, anchor=anchor_xy, borderType=_border(border))
    )


def warp(
    image_HWC: NDArray[np.float32], y_HW: NDArray[np.float32], x_HW: NDArray[np.float32], *, border: Border
) -> NDArray[np.float32]:
    """The picture looked up at those places (pixel centres at integers), bilinear."""
    if max(*image_HWC.shape[:2], *y_HW.shape) > LARGEST_REMAP_PX:
        return _warp_by_scipy(image_HWC, y_HW, x_HW, border)
    import cv2

    return _by_four(image_HWC, lambda part: cv2.remap(part, x_HW, y_HW, cv2.INTER_LINEAR, borderMode=_border(border)))


def enlarged(image_HWC: NDArray[np.float32], size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """The picture at a larger size, bilinear."""
    import cv2

    return _by_four(image_HWC, lambda part: cv2.resize(part, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_LINEAR))


def _border(name: Border) -> int:
    import cv2

    return int({"nearest": cv2.BORDER_REPLICATE, "reflect": cv2.BORDER_REFLECT, "mirror": cv2.BORDER_REFLECT_101}[name])


def _by_four(image_HWC: NDArray[np.float32], work: Callable[[Any], Any]) -> NDArray[np.float32]:
    """The work done on four bands at a time: OpenCV takes no more everywhere."""
    parts = [np.ascontiguousarray(image_HWC[:, :, c : c + 4]) for c in range(0, image_HWC.shape[2], 4)]
    done = [np.asarray(work(part), np.float32) for part in parts]
    kept = [found.reshape(*found.shape[:2], part.shape[2]) for found, part in zip(done, parts, strict=True)]
    return kept[0] if len(kept) == 1 else np.concatenate(kept, axis=2)


def _warp_by_scipy(
    image_HWC: NDArray[np.float32], y_HW: NDArray[np.float32], x_HW: NDArray[np.float32], border: Border
) -> NDArray[np.float32]:
    from scipy import ndimage

    planes = [
        ndimage.map_coordinates(image_HWC[:, :, c], (y_HW, x_HW), order=1, mode=border)
        for c in range(image_HWC.shape[2])
    ]
    return np.stack(planes, axis=2)
