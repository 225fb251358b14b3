"""The sizes of pictures by their headers, several read at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from espalier.data.index import UNKNOWN, Index
from espalier.errors import EspalierError, Problem
from espalier.vision.image import probe

_FEW = 16  # starting threads costs more


def sizes_of(paths: Sequence[str]) -> tuple[NDArray[np.int32], dict[int, Problem]]:
    """(N, 2) height and width, upright, UNKNOWN where a picture can't be read; and by row what is wrong with those."""
    size_hw = np.full((len(paths), 2), UNKNOWN, np.int32)
    problems: dict[int, Problem] = {}
    threads = min(32, 4 * (os.cpu_count() or 1)) if len(paths) > _FEW else 1
    with ThreadPoolExecutor(threads) as pool:
        for row, found in enumerate(pool.map(_size, paths) if threads > 1 else map(_size, paths)):
            if isinstance(found, Problem):
                problems[row] = found
            else:
                size_hw[row] = found
    return size_hw, problems


def _size(path: str) -> tuple[int, int] | Problem:
    try:
        return probe(path).size_hw
    except EspalierError as error:
        return error.problems[0]


def known_sizes(index: Index) -> NDArray[np.int32]:
    """(N, 2) what the labels say, or else the picture's header; UNKNOWN where neither does."""
    size_hw = index.size_hw.copy()
    rows = np.flatnonzero((size_hw == UNKNOWN).any(axis=1))
    size_hw[rows] = sizes_of([index.path(int(row)) for row in rows])[0]
    return size_hw
