"""Which picture comes when: the order of an epoch, a pure function of seed and epoch."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from espalier.data.index import Index

Sampling = Literal["uniform", "balanced"]
ORDER, ITEM, MIX, TILES = 0, 1, 2, 3
"""The streams of random numbers that come from one seed."""


def generator(seed: int, stream: int, epoch: int, position: int = 0) -> np.random.Generator:
    """Random numbers that depend on these four alone, whoever asks and in whatever order."""
    return np.random.default_rng([seed, stream, epoch, position])


def epoch_order(index: Index, sampling: Sampling, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """(N,) rows of the index in the order of that epoch.

    'uniform' has every picture once. 'balanced' has each class equally often (to within one), and the pictures of a
    class equally often within it; pictures without labels count as one class more.
    """
    rng = generator(seed, ORDER, epoch)
    if sampling == "uniform" or not len(index):
        return rng.permutation(len(index))
    return _balanced(_rows_by_class(index), len(index), rng)


def fullest(index: Index) -> int:
    """The row with most labels."""
    return int(np.diff(index.offsets).argmax())


def extremes(index: Index, size_hw: NDArray[np.int32]) -> list[int]:
    """The fullest row, and those of the widest, the tallest and the squarest picture: what padding goes by."""
    ratio = np.log(np.maximum(size_hw[:, 1], 1) / np.maximum(size_hw[:, 0], 1))
    found = (fullest(index), ratio.argmax(), ratio.argmin(), np.abs(ratio).argmin())
    return list(dict.fromkeys(int(row) for row in found))


def _rows_by_class(index: Index) -> list[NDArray[np.int64]]:
    picture, class_id = index.picture_class[:, 0], index.picture_class[:, 1]
    by_class = np.argsort(class_id, kind="stable")
    cuts = np.flatnonzero(np.diff(class_id[by_class])) + 1
    groups = np.split(picture[by_class], cuts) if len(picture) else []
    bare = np.flatnonzero(np.diff(index.offsets) == 0)
    return [*groups, bare] if len(bare) else groups


def _balanced(groups: list[NDArray[np.int64]], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    turns = _cycle(np.arange(len(groups)), count, rng)
    order = np.empty(count, np.int64)
    for number, rows in enumerate(groups):
        places = np.flatnonzero(turns == number)
        order[places] = _cycle(rows, len(places), rng)
    return order


def _cycle(values: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`count` values: the whole lot again and again, newly shuffled each time."""
    rounds = -(-count // len(values))
    return np.concatenate([rng.permutation(values) for _ in range(rounds)])[:count] if count else values[:0]
