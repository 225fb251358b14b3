"""Labels that were drawn on a picture as it is stored, brought to the upright picture that EXIF's orientation means."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.vision.masks import decode_rle, encode_rle


def stored_hw(upright_hw: tuple[int, int], orientation: int) -> tuple[int, int]:
    """The size of the picture as it is stored."""
    return (upright_hw[1], upright_hw[0]) if orientation >= 5 else upright_hw


def points(point_N2: NDArray[Any], orientation: int, stored_hw: tuple[int, int]) -> NDArray[np.float64]:
    """Points (x, y) of the stored picture as points of the upright one; `orientation` is EXIF's 1-8."""
    height, width = stored_hw
    x, y = np.asarray(point_N2, np.float64).T
    across, down = width - x, height - y
    places = {
        2: (across, y),
        3: (across, down),
        4: (x, down),
        5: (y, x),
        6: (down, x),
        7: (down, across),
        8: (y, across),
    }
    return np.stack(places.get(orientation, (x, y)), axis=1)


def boxes(box_N4: NDArray[Any], orientation: int, stored_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Boxes xyxy likewise."""
    corners = points(np.asarray(box_N4).reshape(-1, 2), orientation, stored_hw).reshape(-1, 2, 2)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)


def outline(segment: Any, orientation: int, stored_hw: tuple[int, int]) -> bytes:
    """COCO's polygons or RLE likewise, as JSON text; b"" for None. Raises DataError for an RLE that does not add up."""
    import msgspec

    if segment is None:
        return b""
    if isinstance(segment, dict):
        return msgspec.json.encode(encode_rle(_turned(decode_rle(segment), orientation)))
    turned = [points(np.reshape(polygon, (-1, 2)), orientation, stored_hw).reshape(-1).tolist() for polygon in segment]
    return msgspec.json.encode(turned)


def _turned(mask_HW: NDArray[np.bool_], orientation: int) -> NDArray[np.bool_]:
    mask_HW = mask_HW.T if orientation >= 5 else mask_HW
    return mask_HW[:: -1 if orientation in (3, 4, 7, 8) else 1, :: -1 if orientation in (2, 3, 6, 7) else 1]
