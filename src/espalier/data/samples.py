"""The pictures of an index with their truth, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from espalier.data.index import Index
from espalier.data.order import Sampling, epoch_order, extremes, fullest
from espalier.data.picture_sizes import known_sizes
from espalier.tasks.base import ImageQuery, Sample, Task
from espalier.vision.channels import Channels
from espalier.vision.geometry import Geometry
from espalier.vision.image import MAX_PIXELS, read_image
from espalier.vision.tiling import Tile


@dataclass(frozen=True)
class Look:
    """What is learnt from at once: a picture or a tile of one. The truth is the whole picture's, in its pixels."""

    sample: Sample
    image_HWC: NDArray[Any]
    tile: Tile | None = None

    def geometry(self, placed: Geometry) -> Geometry:
        """The map from the whole picture, when `placed` is that from `image_HWC`."""
        if self.tile is None:
            return placed
        return self.tile.window.geometry(self.tile.size_hw).then(placed)


@dataclass(frozen=True)
class Samples:
    """One tasks.base.Sample a picture of `index`; the file is read at each access. Raises ImageError, DataError."""

    index: Index
    task: Task
    channels: Channels = "rgb"
    max_pixels: int = MAX_PIXELS

    def __len__(self) -> int:
        return len(self.index)

    @overload
    def __getitem__(self, row: int) -> Sample: ...
    @overload
    def __getitem__(self, row: slice) -> Samples: ...
    def __getitem__(self, row: int | slice) -> Sample | Samples:
        if isinstance(row, slice):
            return self.subset(np.arange(len(self))[row])
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        return self.sample(row % len(self), self.image(row % len(self)))

    def __iter__(self) -> Iterator[Sample]:
        return (self[row] for row in range(len(self)))

    def image(self, row: int) -> NDArray[Any]:
        """The picture (H, W, channels), uint8 or uint16, upright."""
        return read_image(self.index.path(row), channels=self.channels, max_pixels=self.max_pixels)

    def sample(self, row: int, image_HWC: NDArray[Any]) -> Sample:
        """The sample around a picture that was read already."""
        name, group = self.index.name(row), self.index.group
        return self.task.sample(
            ImageQuery(image_HWC, name),
            self.index.annotations(row),
            self.index.classes,
            name=name,
            group=name if group is None else str(group[row]),
        )

    # ---- for training --------------------------------------------------------------------------------------------

    @property
    def per_epoch(self) -> int:
        """How many are shown in an epoch."""
        return len(self)

    def order(self, sampling: Sampling, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """The rows of an epoch, in its order."""
        return epoch_order(self.index, sampling, seed=seed, epoch=epoch)

    def look(self, row: int) -> Look:
        """The picture and its truth."""
        image_HWC = self.image(row)
        return Look(self.sample(row, image_HWC), image_HWC)

    def others(self, row: int, count: int, rng: np.random.Generator) -> list[int]:
        """Rows that may make a mosaic with that one."""
        return [int(other) for other in rng.integers(0, len(self), count)]

    @property
    def fullest(self) -> int:
        """The row with most labels."""
        return fullest(self.index)

    def extremes(self) -> list[int]:
        """The row with most labels first, then those whose shapes are furthest from each other."""
        return extremes(self.index, known_sizes(self.index))

    # ---- parts ---------------------------------------------------------------------------------------------------

    def spread(self, count: int) -> Samples:
        """At most `count` pictures from all over the set, for many are sorted: first those with a label that the task
        can score, then those with another, then bare ones."""
        labelled = np.diff(self.index.offsets) > 0
        scored = self._scored()
        rows = np.zeros(0, np.int64)
        for picked in (scored, labelled & ~scored, ~labelled):
            rows = np.concatenate([rows, _evenly(np.flatnonzero(picked), count - len(rows))])
        return self.subset(np.sort(rows))

    def _scored(self) -> NDArray[np.bool_]:
        """(N,) which pictures have an object that is no crowd; one with an outline, where boxes alone don't suit."""
        counts_M = ~self.index.is_crowd
        if not self.task.fits(frozenset({"box"})):
            counts_M = counts_M & (self.index.segments.stop_M > self.index.segments.start_M)
        return np.asarray(np.diff(np.concatenate([[0], np.cumsum(counts_M)])[self.index.offsets]) > 0)

    def subset(self, rows: Sequence[int] | NDArray[Any]) -> Samples:
        """Those pictures, in that order."""
        return Samples(self.index.subset(rows), self.task, self.channels, self.max_pixels)


def _evenly(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most `count` of the rows, the first and the last among them."""
    places = np.linspace(0, max(len(rows) - 1, 0), min(count, len(rows))).astype(int)
    return np.asarray(rows[np.unique(places)])
