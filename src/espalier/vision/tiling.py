"""Large pictures as overlapping tiles: the exact grid, and how a bundle records it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from espalier.errors import ModelError, Problem
from espalier.vision.geometry import Geometry

VERSION = 1
LEAST_PX, MOST_PX = 32, 65536
MOST_OVERLAP = 0.75


@dataclass(frozen=True)
class Window:
    """A part of a picture, in whole pixels of it."""

    top: int
    left: int
    height: int
    width: int

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def box_xyxy(self) -> tuple[int, int, int, int]:
        """As a box in the picture's pixels."""
        return self.left, self.top, self.left + self.width, self.top + self.height

    def geometry(self, source_hw: tuple[int, int]) -> Geometry:
        """The map from a picture of that size to its part."""
        return Geometry.crop(source_hw, top=self.top, left=self.left, size_hw=self.size_hw)

    def of(self, image_HWC: NDArray[Any]) -> NDArray[Any]:
        """The part of a picture; no pixel is copied."""
        return image_HWC[self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True)
class Tile:
    """One of the `count` tiles of a picture of `size_hw`."""

    window: Window
    number: int
    count: int
    size_hw: tuple[int, int]

    @property
    def is_last(self) -> bool:
        """Does it complete its picture?"""
        return self.number + 1 == self.count

    @property
    def words(self) -> str:
        """Such as 'tile 3 of 20 at 256, 0'."""
        return f"tile {self.number + 1} of {self.count} at {self.window.left}, {self.window.top}"


@dataclass(frozen=True)
class Tiling:
    """Square tiles with edges of `tile_px` of the picture's pixels; neighbours share at least `overlap` of an edge.

    The first tile lies in one corner and the last in the opposite one; those between are spread evenly. A picture that
    is no larger than a tile along an axis has one tile there, as large as itself. Raises ModelError for a tiling that
    this version does not know.
    """

    tile_px: int
    overlap: float
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.version != VERSION:
            what = f"tiles: version {self.version} is unknown"
            raise ModelError(Problem("", what, f"this Espalier knows version {VERSION}", "update Espalier"))
        if not (LEAST_PX <= self.tile_px <= MOST_PX and 0 <= self.overlap <= MOST_OVERLAP):
            what = f"tiles of {self.tile_px} px that overlap by {self.overlap:g} are none"
            expected = f"edges of {LEAST_PX} to {MOST_PX} px, an overlap of 0 to {MOST_OVERLAP:g}"
            raise ModelError(Problem("tiles", what, expected))

    def tiles(self, size_hw: tuple[int, int]) -> tuple[Tile, ...]:
        """The tiles of a picture, row by row."""
        height, width = (min(side, self.tile_px) for side in size_hw)
        windows = [Window(y, x, height, width) for y in self._starts(size_hw[0]) for x in self._starts(size_hw[1])]
        return tuple(Tile(window, number, len(windows), size_hw) for number, window in enumerate(windows))

    @property
    def pair_hw(self) -> tuple[int, int]:
        """The size of a picture of two tiles, side by side."""
        return self.tile_px, self.tile_px + max(1, self._step_px // 2)

    @property
    def _step_px(self) -> int:
        return max(1, self.tile_px - round(self.overlap * self.tile_px))

    def cut(self, query: Any) -> Iterator[tuple[Tile, Any]]:
        """Each tile of the query's picture (`image_HWC`) with the query of that part; no pixel is copied."""
        height, width = query.image_HWC.shape[:2]
        for tile in self.tiles((int(height), int(width))):
            yield tile, replace(query, image_HWC=tile.window.of(query.image_HWC))

    def _starts(self, side_px: int) -> list[int]:
        """Where tiles begin along a side."""
        room = side_px - self.tile_px
        if room <= 0:
            return [0]
        count = -(-room // self._step_px)
        return [round(n * room / count) for n in range(count + 1)]

    def to_json(self) -> dict[str, Any]:
        """JSON data that `from_json` reads back."""
        return {"version": self.version, "tile_px": self.tile_px, "overlap": self.overlap}

    @staticmethod
    def from_json(value: Any) -> Tiling:
        """The tiling that JSON data describes. Raises ModelError for anything that this version does not know."""
        if not isinstance(value, Mapping):
            raise ModelError(Problem("tiles", "is no JSON object"))
        version = value.get("version")
        if version != VERSION or isinstance(version, bool):
            what = f"tiles: version {version!r} is unknown"
            raise ModelError(Problem("", what, f"this Espalier knows version {VERSION}", "update Espalier"))
        if set(value) != {"version", "tile_px", "overlap"} or not all(type(v) in (int, float) for v in value.values()):
            raise ModelError(Problem("tiles", f"are not understood: {dict(value)!r:.200}", "version, tile_px, overlap"))
        return Tiling(int(value["tile_px"]), float(value["overlap"]))
