"""Large pictures learnt from tile by tile: which tiles show something, and in which order they come."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.data.index import Index
from espalier.data.order import TILES, Sampling, epoch_order, extremes, fullest, generator
from espalier.data.picture_sizes import sizes_of
from espalier.data.samples import Look, Samples
from espalier.errors import DataError, Problem
from espalier.tasks.base import ImageQuery, Located, Sample, Tiled
from espalier.vision import boxes
from espalier.vision.steps import px
from espalier.vision.tiling import Tile, Tiling

TOGETHER_BYTES = 256 * 2**20
"""Of decoded pictures whose tiles are shuffled among each other; of two pictures at least."""

PAIRS_AT_ONCE = 1 << 20  # of tiles and objects


@dataclass(frozen=True)
class CutIndex:
    """The T tiles of the pictures of `whole`. `touching` and `shown` have a row for each tile, boxes in the pixels of
    the whole picture: all that reach into the tile, and of these the objects that show enough there."""

    whole: Index
    tiles: tuple[Tile, ...]
    picture: NDArray[np.int64]  # (T,) row of `whole`
    size_hw: NDArray[np.int32]  # (N, 2) of the pictures
    touching: Index
    shown: Index
    never_shown: int  # objects of which no tile shows enough

    @cached_property
    def is_empty(self) -> NDArray[np.bool_]:
        """(T,) which tiles show no object."""
        return np.asarray(np.diff(self.shown.offsets) == 0)

    def empty_per_epoch(self, background: float) -> int:
        """How many tiles without an object an epoch shows: `background` for each that has one."""
        empty = int(self.is_empty.sum())
        return min(empty, round(background * (len(self.tiles) - empty)))

    def per_epoch(self, background: float) -> int:
        """How many tiles an epoch shows."""
        return int((~self.is_empty).sum()) + self.empty_per_epoch(background)


def cut_index(index: Index, tiling: Tiling, *, least: float) -> CutIndex:
    """The tiles of all pictures. An object is shown by the tiles that show at least that share of its box.

    A picture's size is its header's, whatever the labels say: it is what will be cut. Raises DataError for pictures
    that can't be read.
    """
    size_hw, unread = sizes_of([index.path(row) for row in range(len(index))])
    if unread:
        raise DataError(*list(unread.values())[:20])
    cut = [tiling.tiles((int(height), int(width))) for height, width in size_hw]
    picture = np.repeat(np.arange(len(index)), [len(tiles) for tiles in cut]).astype(np.int64)
    touching, shown, counts = [], [], []
    for row, tiles in enumerate(cut):
        for touched, seen in _in_tiles(index, row, tiles, least):
            touching.append(touched)
            shown.append(seen)
            counts.append(len(touched))
    picked = np.concatenate(touching) if touching else np.zeros(0, np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    all_ = index.parts(picture, picked, offsets)
    is_shown = np.concatenate(shown) if shown else np.zeros(0, np.bool_)
    tiles_ = tuple(tile for tiles in cut for tile in tiles)
    never_shown = len(np.unique(picked[~index.is_crowd[picked]])) - len(np.unique(picked[is_shown]))
    return CutIndex(index, tiles_, picture, size_hw, all_, all_.keep_annotations(is_shown), never_shown)


def _in_tiles(
    index: Index, row: int, tiles: tuple[Tile, ...], least: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """For each tile of a picture the annotations that reach into it, and which of them show enough there.

    What has no box may be anywhere: it reaches into every tile.
    """
    start, stop = int(index.offsets[row]), int(index.offsets[row + 1])
    box_M4 = boxes.clip(index.box_xyxy[start:stop], tiles[0].size_hw)
    anywhere_M = np.isnan(box_M4).any(axis=1)
    area_M, crowd_M = boxes.area(box_M4), index.is_crowd[start:stop]
    edge_T4 = np.array([tile.window.box_xyxy for tile in tiles], np.float64)
    step = max(1, PAIRS_AT_ONCE // max(1, stop - start))
    for first in range(0, len(tiles), step):
        for inside_M in boxes.intersection(edge_T4[first : first + step], box_M4):
            touched = np.flatnonzero(anywhere_M | (inside_M > 0))
            enough_M = anywhere_M | (inside_M >= least * (1 - 1e-6) * area_M)
            yield start + touched, enough_M[touched] & ~crowd_M[touched]


@dataclass
class RecentPictures:
    """The pictures that were decoded last, at least two. What it holds does not travel to another process."""

    most_bytes: int = TOGETHER_BYTES
    _held: OrderedDict[int, NDArray[Any]] = field(default_factory=OrderedDict)

    def get(self, row: int, read: Callable[[int], NDArray[Any]]) -> NDArray[Any]:
        """The picture, read where it is not held."""
        if row in self._held:
            self._held.move_to_end(row)
            return self._held[row]
        while len(self._held) > 1 and sum(image.nbytes for image in self._held.values()) > self.most_bytes:
            self._held.popitem(last=False)
        self._held[row] = read(row)
        return self._held[row]

    def __getstate__(self) -> dict[str, Any]:
        return {"most_bytes": self.most_bytes, "_held": OrderedDict()}


@dataclass(frozen=True)
class TileSamples:
    """Tiles to learn from, a row for each. In an epoch every tile that shows an object comes once, and for each of
    these at most `background` that show none, drawn anew: in a sparse picture they would be nearly all.

    Tiles are shuffled among those of as many pictures as fit into `TOGETHER_BYTES` (two at least), so that a picture is
    decoded once, not once a tile.
    """

    samples: Samples
    cut: CutIndex
    least: float  # the share of an object's box that a tile must show
    background: float
    recent: RecentPictures = field(default_factory=RecentPictures, compare=False)

    def __len__(self) -> int:
        return len(self.cut.tiles)

    @property
    def index(self) -> Index:
        """A row for each tile, with the objects that it shows."""
        return self.cut.shown

    @property
    def per_epoch(self) -> int:
        """How many are shown in an epoch."""
        return self.cut.per_epoch(self.background)

    @property
    def words(self) -> str:
        """Of how many tiles an epoch is made."""
        empty = int(self.cut.is_empty.sum())
        edge = max(max(tile.window.size_hw) for tile in self.cut.tiles)
        return (
            f"{len(self.samples)} pictures make {len(self)} tiles of {edge} px: an epoch shows the {len(self) - empty} "
            f"with objects and {self.cut.empty_per_epoch(self.background)} of the {empty} without"
        )

    def order(self, sampling: Sampling, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """The rows of an epoch, in its order."""
        rng = generator(seed, TILES, epoch)
        empty = np.flatnonzero(self.cut.is_empty)
        drawn = rng.choice(empty, self.cut.empty_per_epoch(self.background), replace=False)
        rows = np.sort(np.concatenate([np.flatnonzero(~self.cut.is_empty), drawn]))
        order = rows[epoch_order(self.index.subset(rows), sampling, seed=seed, epoch=epoch)]
        together = self._together(rng)[self.cut.picture[order]]
        return np.asarray(order[np.argsort(together, kind="stable")])

    def _together(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """(N,) for each picture the number of those whose tiles are shuffled together, in an order that is drawn."""
        number_N = np.zeros(len(self.samples), np.int64)
        held, count, number = 0, 0, 0
        for row in rng.permutation(len(self.samples)):
            if count >= 2 and held + self._bytes[row] > TOGETHER_BYTES:
                held, count, number = 0, 0, number + 1
            number_N[row] = number
            held, count = held + int(self._bytes[row]), count + 1
        return number_N

    @cached_property
    def _bytes(self) -> NDArray[np.int64]:
        """(N,) about what each picture takes when it is decoded."""
        return np.asarray(self.cut.size_hw.astype(np.int64).prod(axis=1) * 3, np.int64)

    def look(self, row: int) -> Look:
        """A tile and the truth of its picture. Raises DataError where the picture is no longer the one that was cut."""
        tile, picture = self.cut.tiles[row], int(self.cut.picture[row])
        image_HWC = self.recent.get(picture, self.samples.image)
        if image_HWC.shape[:2] != tile.size_hw:
            what = f"has {px(image_HWC.shape[:2])} now, and had {px(tile.size_hw)} when training began"
            raise DataError(Problem(self.samples.index.path(picture), what, fix="leave the pictures as they are"))
        part_HWC = tile.window.of(image_HWC)
        sample = self.samples.task.sample(
            ImageQuery(image_HWC, self.cut.whole.name(picture)),
            self.cut.touching.annotations(row),
            self.index.classes,
            name=f"{self.cut.whole.name(picture)} ({tile.words})",
            group=self.cut.whole.name(picture),
        )
        return Look(self._inside(sample, tile), part_HWC, tile)

    def _inside(self, sample: Sample, tile: Tile) -> Sample:
        """The truth as if the tile were a picture: slivers are no objects there, and all ends at its edges."""
        task = self.samples.task
        if isinstance(task, Located):
            sample = task.cut(sample, tile.window.geometry(tile.size_hw), min_visible=self.least)
        return task.inside(sample, tile.window) if isinstance(task, Tiled) else sample

    @property
    def fullest(self) -> int:
        """The row with most labels."""
        return fullest(self.index)

    def extremes(self) -> list[int]:
        """The row with most labels first, then those whose shapes are furthest from each other."""
        return extremes(self.index, np.array([tile.window.size_hw for tile in self.cut.tiles], np.int32))

    def others(self, row: int, count: int, rng: np.random.Generator) -> list[int]:
        """Tiles that may make a mosaic with that one: of its own picture where not all can be held."""
        if self._bytes.sum() <= TOGETHER_BYTES:
            return [int(other) for other in rng.integers(0, len(self), count)]
        own = np.flatnonzero(self.cut.picture == self.cut.picture[row])
        return [int(other) for other in rng.choice(own, count)]


def tile_samples(samples: Samples, tiling: Tiling, *, least: float, background: float) -> TileSamples:
    """The tiles of these pictures. Raises DataError for pictures that can't be read, and where none shows a thing."""
    made = TileSamples(samples, cut_index(samples.index, tiling, least=least), least, background)
    if not made.per_epoch:
        what = f"no tile of {tiling.tile_px} px shows {least:.0%} of an object"
        fix = "take a larger network.input.tile_px, or a smaller train.augment.min_visible"
        raise DataError(Problem(samples.index.source, what, fix=fix))
    return made
