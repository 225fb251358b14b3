"""Masks on pictures for people: tinted, with a line just inside the outline, so that neighbours stay apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.vision.draw import Colour, line_px, luminance, to_rgb8
from espalier.vision.masks import Mask

TINT = 0.35
SEAM = 0.6  # of black or white beside the line
DASH = 4  # lengths of a dash in widths of the line


@dataclass(frozen=True)
class Part:
    """A mask in its own box of pixels, whose top left corner is (left, top)."""

    mask_HW: Mask
    left: int
    top: int

    def enlarged(self, times: int) -> Part:
        """For the picture with every pixel that many times as wide and high."""
        mask_HW = np.repeat(np.repeat(self.mask_HW, times, axis=0), times, axis=1)
        return Part(mask_HW, self.left * times, self.top * times)


def draw_masks(
    image_HWC: NDArray[Any], parts: Sequence[Part], colours: Sequence[Colour], *, dashed: Sequence[bool] = ()
) -> NDArray[np.uint8]:
    """The picture with masks of its own pixels, later ones on top, RGB uint8. Dashed ones are not tinted."""
    rgb_HW3 = np.array(to_rgb8(image_HWC))
    width = line_px((rgb_HW3.shape[1], rgb_HW3.shape[0]))
    for number, (part, colour) in enumerate(zip(parts, colours, strict=True)):
        height, across = part.mask_HW.shape
        under_hw3 = rgb_HW3[part.top : part.top + height, part.left : part.left + across]
        if number < len(dashed) and dashed[number]:
            _dashes(under_hw3, part.mask_HW, colour, width)
        else:
            _tinted(under_hw3, part.mask_HW, colour, width)
    return rgb_HW3


def _tinted(under_hw3: NDArray[np.uint8], mask_HW: Mask, colour: Colour, width: int) -> None:
    line, inside = _rim(mask_HW, width)
    seam, _ = _rim(inside, max(1, width // 2))
    _mix(under_hw3, inside, colour, TINT)
    _mix(under_hw3, seam, _against(colour), SEAM)
    _mix(under_hw3, line, colour, 1.0)


def _dashes(under_hw3: NDArray[np.uint8], mask_HW: Mask, colour: Colour, width: int) -> None:
    """Dashes of the colour along the outline, on a line of black or white."""
    import cv2

    line, _ = _rim(mask_HW, width)
    drawn = np.zeros(mask_HW.shape, np.uint8)
    outlines, _ = cv2.findContours(mask_HW.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for outline in outlines:
        points_N2 = outline.reshape(-1, 2)
        shown = points_N2[np.arange(len(points_N2)) // (DASH * width) % 2 == 0]
        drawn[shown[:, 1], shown[:, 0]] = 1
    broad = cv2.dilate(drawn, np.ones((2 * width - 1, 2 * width - 1), np.uint8)) > 0
    _mix(under_hw3, line, _against(colour), 1.0)
    _mix(under_hw3, line & broad, colour, 1.0)


def _rim(mask_HW: Mask, width: int) -> tuple[Mask, Mask]:
    """(the pixels of the mask within `width` of its outline, the rest)."""
    import cv2

    padded = np.pad(mask_HW.astype(np.uint8), 1)
    inner = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1] > 0
    return mask_HW & ~inner, inner


def _against(colour: Colour) -> Colour:
    return (0, 0, 0) if luminance(colour) > 0.18 else (255, 255, 255)


def _mix(under_hw3: NDArray[np.uint8], where: Mask, colour: Colour, share: float) -> None:
    under_hw3[where] = np.rint(
        under_hw3[where] * np.float32(1 - share) + np.array(colour, np.float32) * np.float32(share)
    )
