"""One look at every picture of a data set: does it decode, how large is it, and what does it look like in short?"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier import storage
from espalier.data.index import UNKNOWN, Index
from espalier.errors import EspalierError, Problem
from espalier.vision.image import MAX_PIXELS, probe, read_image
from espalier.vision.phash import difference_hash
from espalier.vision.resize import resize

THUMB_PX = 16
THUMB_BYTES = THUMB_PX * THUMB_PX * 3
Progress = Callable[[int, int], None]
"""Told how many of how many pictures are done."""


@dataclass(frozen=True)
class Scan:
    """What was seen, a row for each of the N pictures; rows with a problem are zero elsewhere.

    Where pictures are not to be compared, `compared` is false, and hashes and thumbs are zero.
    """

    size_hw: NDArray[np.int32]  # (N, 2) upright; UNKNOWN where the picture can't be read
    orientation: NDArray[np.uint8]  # (N,) EXIF's 1-8
    hash: NDArray[np.uint64]  # (N,) vision.phash.difference_hash
    thumb: NDArray[np.uint8]  # (N, THUMB_BYTES) the picture in RGB, shrunk
    missing: NDArray[np.bool_]  # (N,)
    problems: tuple[Problem | None, ...]  # (N,)
    compared: bool = True

    @property
    def readable(self) -> NDArray[np.bool_]:
        """(N,) could the picture be decoded?"""
        return np.array([problem is None for problem in self.problems], np.bool_)

    def subset(self, rows: NDArray[Any]) -> Scan:
        """Some of the rows."""
        places = np.arange(len(self.problems))[rows]
        return Scan(
            self.size_hw[places],
            self.orientation[places],
            self.hash[places],
            self.thumb[places],
            self.missing[places],
            tuple(self.problems[place] for place in places),
            self.compared,
        )


@dataclass(frozen=True)
class _Seen:
    size_hw: tuple[int, int]
    orientation: int
    hash: np.uint64
    thumb: NDArray[np.uint8]


_NOTHING = _Seen((UNKNOWN, UNKNOWN), 1, np.uint64(0), np.zeros(THUMB_BYTES, np.uint8))


def scan(
    index: Index,
    *,
    compare: bool = True,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
    threads: int | None = None,
) -> Scan:
    """Reads every picture once, several at a time. One that can't be read is a problem in the result, not an error.

    `compare`: also keep what near-duplicates are told by.
    """
    paths = [index.path(row) for row in range(len(index))]
    found: list[_Seen | Problem] = []
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        for seen in pool.map(lambda path: _look(path, max_pixels, compare), paths):
            found.append(seen)
            if progress is not None:
                progress(len(found), len(paths))
    return _columns(found, paths, compare)


def _look(path: str, max_pixels: int, compare: bool) -> _Seen | Problem:
    try:
        content = storage.read_bytes(path)
        info = probe(content, name=path)
        image_HW3 = read_image(content, channels="rgb", max_pixels=max_pixels, name=path)
    except EspalierError as error:
        return error.problems[0]
    if not compare:
        return replace(_NOTHING, size_hw=info.size_hw, orientation=info.orientation)
    return _Seen(info.size_hw, info.orientation, difference_hash(image_HW3), thumbnail(image_HW3))


def thumbnail(image_HW3: NDArray[Any]) -> NDArray[np.uint8]:
    """(THUMB_BYTES,) the RGB picture shrunk to a square, 8 bit."""
    small = resize(image_HW3, (THUMB_PX, THUMB_PX), "area")
    return (small if small.dtype == np.uint8 else small >> 8).astype(np.uint8).reshape(-1)


def _columns(found: Sequence[_Seen | Problem], paths: Sequence[str], compare: bool) -> Scan:
    seen = [item if isinstance(item, _Seen) else _NOTHING for item in found]
    problems = tuple(item if isinstance(item, Problem) else None for item in found)
    missing = [problem is not None and not storage.exists(path) for problem, path in zip(problems, paths)]
    return Scan(
        np.array([item.size_hw for item in seen], np.int32).reshape(-1, 2),
        np.array([item.orientation for item in seen], np.uint8),
        np.array([item.hash for item in seen], np.uint64),
        np.array([item.thumb for item in seen], np.uint8).reshape(-1, THUMB_BYTES),
        np.array(missing, np.bool_),
        problems,
        compare,
    )
