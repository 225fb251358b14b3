"""The exact map between source pixels and network-input pixels, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GRID = float(2**24)
"""Source coordinates are given back on a grid of 2^-24 px, far below any meaning and above float64's rounding, so that
whole and float32 coordinates come back as the very same numbers."""


@dataclass(frozen=True)
class Geometry:
    """input = source * scale + offset, for each axis. Pixel edges lie at integers; points are (x, y), boxes xyxy.

    `valid_hw` is the part of the input (from its top left corner) that shows the picture; the rest is padding.
    A negative scale is a mirror image.
    """

    source_hw: tuple[int, int]
    input_hw: tuple[int, int]
    scale_xy: tuple[float, float]
    offset_xy: tuple[float, float]
    valid_hw: tuple[int, int]

    @staticmethod
    def identity(size_hw: tuple[int, int]) -> Geometry:
        """The map of a picture onto itself."""
        return Geometry(size_hw, size_hw, (1.0, 1.0), (0.0, 0.0), size_hw)

    @staticmethod
    def stretch(source_hw: tuple[int, int], input_hw: tuple[int, int]) -> Geometry:
        """The whole picture at another size."""
        scale_xy = (input_hw[1] / source_hw[1], input_hw[0] / source_hw[0])
        return Geometry(source_hw, input_hw, scale_xy, (0.0, 0.0), input_hw)

    @staticmethod
    def crop(source_hw: tuple[int, int], *, top: int, left: int, size_hw: tuple[int, int]) -> Geometry:
        """The part of `size_hw` whose top left corner lies at (left, top)."""
        return Geometry(source_hw, size_hw, (1.0, 1.0), (-float(left), -float(top)), size_hw)

    @staticmethod
    def pad(source_hw: tuple[int, int], input_hw: tuple[int, int]) -> Geometry:
        """The whole picture with padding on the right and bottom."""
        return Geometry(source_hw, input_hw, (1.0, 1.0), (0.0, 0.0), source_hw)

    @staticmethod
    def flip(size_hw: tuple[int, int], *, horizontal: bool = False, vertical: bool = False) -> Geometry:
        """The mirror image, left to right or upside down."""
        scale_xy = (-1.0 if horizontal else 1.0, -1.0 if vertical else 1.0)
        offset_xy = (float(size_hw[1]) if horizontal else 0.0, float(size_hw[0]) if vertical else 0.0)
        return Geometry(size_hw, size_hw, scale_xy, offset_xy, size_hw)

    def to_input(self, points_N2: NDArray[Any]) -> NDArray[np.float64]:
        """Source points (N, 2) in input pixels."""
        return np.asarray(points_N2, np.float64) * self.scale_xy + self.offset_xy

    def to_source(self, points_N2: NDArray[Any]) -> NDArray[np.float64]:
        """Input points (N, 2) in source pixels; undoes `to_input` exactly (on a grid of 2^-24 px)."""
        points = (np.asarray(points_N2, np.float64) - self.offset_xy) / self.scale_xy
        snapped: NDArray[np.float64] = np.rint(points * _GRID) / _GRID
        return snapped

    def boxes_to_input(self, box_N4: NDArray[Any]) -> NDArray[np.float64]:
        """Source boxes xyxy (N, 4) in input pixels, not clipped."""
        return self._ordered(self.to_input(np.asarray(box_N4).reshape(-1, 2)).reshape(-1, 4))

    def boxes_to_source(self, box_N4: NDArray[Any]) -> NDArray[np.float64]:
        """Input boxes xyxy (N, 4) in source pixels, not clipped."""
        return self._ordered(self.to_source(np.asarray(box_N4).reshape(-1, 2)).reshape(-1, 4))

    def _ordered(self, box_N4: NDArray[np.float64]) -> NDArray[np.float64]:
        """A mirror swaps a box's edges; this puts the smaller one first again."""
        swap_xy = [scale < 0 for scale in self.scale_xy]
        order = [2 if swap_xy[0] else 0, 3 if swap_xy[1] else 1, 0 if swap_xy[0] else 2, 1 if swap_xy[1] else 3]
        return box_N4[:, order]

    def then(self, step: Geometry) -> Geometry:
        """This map followed by `step`, whose source is this one's input."""
        sx, sy = step.scale_xy
        return Geometry(
            self.source_hw,
            step.input_hw,
            (self.scale_xy[0] * sx, self.scale_xy[1] * sy),
            (self.offset_xy[0] * sx + step.offset_xy[0], self.offset_xy[1] * sy + step.offset_xy[1]),
            self._valid_after(step),
        )

    def _valid_after(self, step: Geometry) -> tuple[int, int]:
        """Padding of this map stays padding after the next one, when that keeps the picture at the top left."""
        if self.valid_hw == self.input_hw or min(step.scale_xy) < 0:
            return step.valid_hw
        reach_xy = [
            round(v * s + o) for v, s, o in zip(self.valid_hw[::-1], step.scale_xy, step.offset_xy, strict=True)
        ]
        return min(max(reach_xy[1], 0), step.valid_hw[0]), min(max(reach_xy[0], 0), step.valid_hw[1])
