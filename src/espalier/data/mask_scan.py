"""One look at every mask of a data set: how large it is, and how many pixels have which value. Nothing else is kept."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.errors import EspalierError, Problem
from espalier.vision.class_maps import counted
from espalier.vision.image import read_values
from espalier.vision.mask_file import MOST_PIXELS, as_numbers, blocks_of, is_grey, read_raw

_FEW = 4  # starting threads costs more
_LOSSY = (".jpg", ".jpeg")


@dataclass(frozen=True)
class SeenMask:
    """A mask's values (k,), ascending, with the pixels of each; colours are numbers, red highest."""

    path: str
    size_hw: tuple[int, int]
    values: NDArray[np.int64]
    pixels: NDArray[np.int64]
    is_coloured: bool
    is_deep: bool  # 16 bit
    digest: str

    @property
    def is_lossy(self) -> bool:
        """Is it of a kind that changes values as it packs them?"""
        return self.path.lower().endswith(_LOSSY)


def look_at_all(paths: Sequence[str], *, colours: bool | None) -> Iterator[SeenMask | Problem]:
    """Every mask in its order, or what is wrong with it; several are read at a time.

    `colours` says whether colours are meant, or ids; None takes colours where a mask has some.
    """
    if len(paths) < _FEW:
        yield from (_look(path, colours) for path in paths)
        return
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(paths), 64):
            yield from pool.map(lambda path: _look(path, colours), paths[start : start + 64])


def _look(path: str, colours: bool | None) -> SeenMask | Problem:
    try:
        raw_HW, is_coloured = _raw(path, colours)
    except EspalierError as error:
        return error.problems[0]
    values, pixels = _counted(raw_HW)
    size_hw = (int(raw_HW.shape[0]), int(raw_HW.shape[1]))
    digest = hashlib.blake2b(np.ascontiguousarray(raw_HW).data, digest_size=16, person=repr(size_hw).encode()[:16])
    is_deep = raw_HW.dtype == np.uint16
    return SeenMask(path, size_hw, values, pixels, is_coloured, is_deep, digest.hexdigest())


def _raw(path: str, colours: bool | None) -> tuple[NDArray[Any], bool]:
    """(H, W) values, and whether they are colours."""
    if colours is not None:
        return read_raw(path, colours=colours), colours
    values = read_values(path, max_pixels=MOST_PIXELS)
    if values.ndim == 2:
        return values, False
    return (values[:, :, 0], False) if is_grey(values) else (as_numbers(values, path), True)


def _counted(raw_HW: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if raw_HW.dtype != np.int32:
        counts = counted(raw_HW)
        values = np.flatnonzero(counts)
        return values.astype(np.int64), counts[values]
    found = Counter[int]()
    for rows in blocks_of(raw_HW):
        values, pixels = np.unique(raw_HW[rows], return_counts=True)
        found.update(dict(zip(values.tolist(), pixels.tolist(), strict=True)))
    table = np.array(sorted(found.items()), np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
