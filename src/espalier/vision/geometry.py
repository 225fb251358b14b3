"""The exact map between source pixels and network-input pixels, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Geometry:
    """input = source * scale + offset, for each axis. Pixel edges lie at integers; points are (x, y), boxes xyxy.

    `valid_hw` is the part of the input (from its top left corner) that shows the picture; the rest is padding.
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

    def to_input(self, points_N2: NDArray[Any]) -> NDArray[np.float64]:
        """Source points (N, 2) in input pixels."""
        return np.asarray(points_N2, np.float64) * self.scale_xy + self.offset_xy

    def to_source(self, points_N2: NDArray[Any]) -> NDArray[np.float64]:
        """Input points (N, 2) in source pixels."""
        return (np.asarray(points_N2, np.float64) - self.offset_xy) / self.scale_xy

    def boxes_to_input(self, box_N4: NDArray[Any]) -> NDArray[np.float64]:
        """Source boxes xyxy (N, 4) in input pixels, not clipped."""
        return self.to_input(np.asarray(box_N4).reshape(-1, 2)).reshape(-1, 4)

    def boxes_to_source(self, box_N4: NDArray[Any]) -> NDArray[np.float64]:
        """Input boxes xyxy (N, 4) in source pixels, not clipped."""
        return self.to_source(np.asarray(box_N4).reshape(-1, 2)).reshape(-1, 4)

    def then(self, step: Geometry) -> Geometry:
        """This map followed by `step`, whose source is this one's input."""
        sx, sy = step.scale_xy
        return Geometry(
            self.source_hw,
            step.input_hw,
            (self.scale_xy[0] * sx, self.scale_xy[1] * sy),
            (self.offset_xy[0] * sx + step.offset_xy[0], self.offset_xy[1] * sy + step.offset_xy[1]),
            step.valid_hw,
        )
