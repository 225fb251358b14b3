"""Maps brought from one grid of pixels to another: a layer's to the network's input, the input's to the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.vision.geometry import Geometry


def resample(map_HW: NDArray[Any], geometry: Geometry) -> NDArray[np.float32]:
    """The map at each pixel of the geometry's source: bilinear between pixel centres, as at the edge beyond them.

    The map covers the geometry's input. A geometry of whole pixels gives the very same values.
    """
    y_axis, x_axis = _Axis.of(geometry, 1), _Axis.of(geometry, 0)
    rows_HW = y_axis.mixed(np.asarray(map_HW, np.float32))
    return np.ascontiguousarray(x_axis.mixed(rows_HW.T).T)


def enlarge(map_HW: NDArray[Any], size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """The map, which covers the whole, at another size."""
    height, width = map_HW.shape
    return resample(map_HW, Geometry.stretch(size_hw, (height, width)))


def to_source(map_HW: NDArray[Any], geometry: Geometry) -> NDArray[np.float32]:
    """A map of the network's input in the pixels of the picture; NaN where the network saw nothing of it."""
    height, width = geometry.valid_hw
    shown_HW = resample(np.asarray(map_HW)[:height, :width], geometry)
    shown_HW[~seen(geometry)] = np.nan
    return shown_HW


def seen(geometry: Geometry) -> NDArray[np.bool_]:
    """(H, W) of the picture: does the middle of each pixel lie inside the network's input?"""
    height, width = geometry.valid_hw
    y, x = _Axis.places(geometry, 1), _Axis.places(geometry, 0)
    inside_y, inside_x = (y >= 0) & (y <= height), (x >= 0) & (x <= width)
    return np.asarray(inside_y[:, None] & inside_x[None, :], np.bool_)


class _Axis:
    """One axis of the way: each pixel of the source lies between two rows of the map."""

    def __init__(self, centre_N: NDArray[np.float64], rows: int) -> None:
        last = rows - 1
        place_N = np.clip(centre_N - 0.5, 0, last)
        self.before_N = np.floor(place_N).astype(np.int64)
        self.after_N = np.minimum(self.before_N + 1, last)
        self.weight_N1 = (place_N - self.before_N).astype(np.float32)[:, None]

    @classmethod
    def of(cls, geometry: Geometry, axis: int) -> _Axis:
        """`axis` 0 is x, 1 is y."""
        return cls(cls.places(geometry, axis), geometry.valid_hw[1 - axis])

    @staticmethod
    def places(geometry: Geometry, axis: int) -> NDArray[np.float64]:
        """Where the middle of each source pixel lies in the input."""
        centres_N = np.arange(geometry.source_hw[1 - axis]) + 0.5
        points_N2 = np.zeros((len(centres_N), 2))
        points_N2[:, axis] = centres_N
        return np.asarray(geometry.to_input(points_N2)[:, axis], np.float64)

    def mixed(self, map_RW: NDArray[np.float32]) -> NDArray[np.float32]:
        """The map's rows at this axis's places."""
        before, after = map_RW[self.before_N], map_RW[self.after_N]
        return np.asarray(before + (after - before) * self.weight_N1, np.float32)
