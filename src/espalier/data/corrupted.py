"""Each picture under each corruption, made by worker processes; torch-free."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from espalier.data.pool import WorkerPool
from espalier.data.samples import Samples
from espalier.tasks.base import Sample
from espalier.vision.corruptions import Corruption
from espalier.vision.corruptions.queries import corrupt_placed, corrupt_query
from espalier.vision.prepare import Placed, Prepare
from espalier.vision.tiling import Tiling

At = Literal["input", "source"]
"""In whose pixels: the network's, or the picture's own before it is resized."""

MOST_BYTES = 32 * 2**20  # of pictures that a worker makes before it hands them over


@dataclass(frozen=True)
class CorruptedPlan:
    """A picture by its row, and what is done to it."""

    row: int
    corruptions: tuple[Corruption, ...]


@dataclass(frozen=True)
class CorruptedPicture:
    """The query under each corruption of its plan, its tiles one by one where it is cut, and its truth without the
    picture."""

    plan: CorruptedPlan
    placed: tuple[Placed, ...]
    sample: Sample


@dataclass(frozen=True)
class CorruptedMaker:
    """Plan → CorruptedPicture. What is drawn depends on (seed, picture's name, corruption, severity) alone."""

    samples: Samples
    prepare: Prepare
    seed: int
    at: At
    tiling: Tiling | None = None  # each tile is then a picture of the network's

    def __call__(self, plan: CorruptedPlan) -> CorruptedPicture:
        """Raises ImageError or DataError for a picture or label that can't be used."""
        sample = self.samples[plan.row]
        placed = tuple(self._under(sample, plan.corruptions))
        return CorruptedPicture(plan, placed, replace(sample, query=None))

    def _under(self, sample: Sample, corruptions: Sequence[Corruption]) -> Iterator[Placed]:
        if self.at == "source":
            for one in corruptions:
                query = corrupt_query(sample.query, self.prepare, one, seed=self.seed, key=sample.name)
                yield from self.prepare.placed_parts(query, self.tiling)
            return
        clean = list(self.prepare.placed_parts(sample.query, self.tiling))
        for one in corruptions:
            for part in clean:
                yield corrupt_placed(part, self.prepare, one, seed=self.seed, key=key_of(sample.name, part))


def key_of(name: str, placed: Placed) -> str:
    """What is drawn by: the picture's name, and its tile's number after the first."""
    return name if placed.tile is None or not placed.tile.number else f"{name}\0{placed.tile.number}"


@contextmanager
def corrupted(
    maker: CorruptedMaker, corruptions: Sequence[Corruption], *, workers: int
) -> Iterator[Iterator[CorruptedPicture]]:
    """Every picture under every corruption, in the order of both; the same for any number of workers (0: none).

    The iterator raises what the maker raises, and WorkError when a worker died. Leaving ends the workers.
    """
    plans = _plans(maker, corruptions)
    if not workers or not sys.executable:
        yield map(maker, plans)
        return
    pool: WorkerPool[CorruptedPlan, CorruptedPicture]
    with closing(WorkerPool(maker, workers, fix="lower evaluate.corruptions.workers")) as pool:
        yield pool.run(plans)


def _plans(maker: CorruptedMaker, corruptions: Sequence[Corruption]) -> Iterator[CorruptedPlan]:
    """A plan a picture, or several where a picture under all corruptions is too large to hand over at once."""
    if not len(maker.samples):
        return
    first = maker.prepare.placed_parts(maker.samples[0].query, maker.tiling)
    step = max(1, MOST_BYTES // sum(image.nbytes for part in first for image in part.images.values()))
    for row in range(len(maker.samples)):
        for start in range(0, len(corruptions), step):
            yield CorruptedPlan(row, tuple(corruptions[start : start + step]))
