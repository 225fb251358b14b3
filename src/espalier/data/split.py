"""Splits that keep what belongs together on one side: groups, near-duplicates; stratified by class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from espalier.data.duplicates import clusters, connected
from espalier.data.index import Index
from espalier.data.scan import Scan, scan
from espalier.errors import DataError, Problem

Rows = NDArray[np.int64]
_SIZE_WEIGHT = 0.1  # of a part's size beside its classes


def split(
    index: Index, fraction: float, *, seed: int, near_duplicates: bool = True, seen: Scan | None = None
) -> tuple[Rows, Rows]:
    """(train rows, held-out rows), both sorted; every class with two groups or more is on both sides.

    `seen` is the scan of the pictures when it was made already; without it, `near_duplicates` makes one. Raises
    DataError when everything belongs to one group.
    """
    first, second = parts(index, (1 - fraction, fraction), seed=seed, near_duplicates=near_duplicates, seen=seen)
    return first, second


def parts(
    index: Index, shares: Sequence[float], *, seed: int, near_duplicates: bool = True, seen: Scan | None = None
) -> list[Rows]:
    """Sorted rows of each part, the sizes in proportion to `shares`. Raises DataError when a part would be empty."""
    unit = units(index, near_duplicates=near_duplicates, seen=seen)
    if unit.max(initial=-1) + 1 < len(shares):
        raise _too_few(index, int(unit.max(initial=-1)) + 1, len(shares))
    part = _assign(index, unit, np.array(shares, np.float64), np.random.default_rng(seed), every_class=True)
    return [np.flatnonzero(part == number) for number in range(len(shares))]


def folds(
    index: Index, k: int, repeats: int, seed: int, *, near_duplicates: bool = True, seen: Scan | None = None
) -> list[tuple[Rows, Rows]]:
    """k × repeats pairs (train rows, held-out rows): each repeat cuts the pictures anew into k parts of equal size."""
    unit = units(index, near_duplicates=near_duplicates, seen=seen)
    if unit.max(initial=-1) + 1 < k:
        raise _too_few(index, int(unit.max(initial=-1)) + 1, k)
    pairs = []
    for repeat in range(repeats):
        part = _assign(index, unit, np.full(k, 1 / k), np.random.default_rng([seed, repeat]), every_class=False)
        pairs += [(np.flatnonzero(part != number), np.flatnonzero(part == number)) for number in range(k)]
    return pairs


def units(index: Index, *, near_duplicates: bool, seen: Scan | None = None) -> Rows:
    """(N,) what has to stay together has one number: pictures of a group, near-duplicates, and chains of both."""
    count = len(index)
    links = [np.zeros((0, 2), np.int64)]
    if index.group is not None:
        named = np.flatnonzero(index.group != "")
        links.append(_chained(np.unique(index.group[named].astype(str), return_inverse=True)[1], named))
    if near_duplicates and count:
        links.append(_chained(clusters(seen or scan(index)), np.arange(count)))
    return connected(count, np.concatenate(links)) if count else np.zeros(0, np.int64)


def _chained(key: Rows, rows: Rows) -> Rows:
    """Pairs that link each row to the next one with the same key."""
    order = np.argsort(key, kind="stable")
    same = key[order][1:] == key[order][:-1]
    ordered = rows[order]
    return np.stack([ordered[:-1][same], ordered[1:][same]], axis=1)


def _assign(
    index: Index, unit: Rows, shares: NDArray[np.float64], rng: np.random.Generator, *, every_class: bool
) -> Rows:
    """(N,) the part of each picture: unit by unit, to the part that is least filled with what the unit has.

    The idea of Sechidis et al. 2011 ("On the stratification of multi-label data") with units in place of items: large
    units first, then those of rare classes, ties by size and then at random.
    """
    count = int(unit.max(initial=-1)) + 1
    unit_class, amount = _unit_classes(index, unit)
    size = np.bincount(unit, minlength=count)
    wanted_PC = _wanted(unit_class, amount, len(index.classes) + 1, shares, every_class=every_class)
    total_C = wanted_PC.sum(axis=0)
    filled_PC, filled_P = np.zeros_like(wanted_PC), np.zeros(len(shares))
    starts = np.searchsorted(unit_class[:, 0], np.arange(count + 1))
    rarity = np.minimum.reduceat(total_C[unit_class[:, 1]], starts[:-1]) if count else np.zeros(0)
    part = np.zeros(count, np.int64)
    for number in np.lexsort((rng.random(count), rarity, -size)):
        owned, weight = unit_class[starts[number] : starts[number + 1], 1], amount[starts[number] : starts[number + 1]]
        after_PK = (filled_PC[:, owned] + weight) / np.maximum(wanted_PC[:, owned], 1e-9)
        fill_P = after_PK @ (1 / total_C[owned]) * total_C[owned].min()  # rarer classes count for more
        whole_P = (filled_P + size[number]) / (shares * len(unit))
        best = int(np.lexsort((rng.random(len(shares)), whole_P, (fill_P + _SIZE_WEIGHT * whole_P).round(9)))[0])
        part[number] = best
        filled_PC[best, owned] += weight
        filled_P[best] += size[number]
    return _none_empty(part, size, len(shares))[unit]


def _unit_classes(index: Index, unit: Rows) -> tuple[Rows, NDArray[np.float64]]:
    """(K, 2) distinct pairs of unit and class, sorted, and the pictures of each; no label at all is the class C."""
    bare = np.flatnonzero(np.diff(index.offsets) == 0)
    no_label = np.stack([bare, np.full(len(bare), len(index.classes))], axis=1)
    pictures = np.concatenate([index.picture_class, no_label])
    pairs = np.stack([unit[pictures[:, 0]], pictures[:, 1]], axis=1)
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    return found, counts.astype(np.float64)


def _wanted(
    unit_class: Rows, amount: NDArray[np.float64], classes: int, shares: NDArray[np.float64], *, every_class: bool
) -> NDArray[np.float64]:
    """(P, C) pictures of each class that each part should get; with `every_class` at least one where units suffice."""
    total_C = np.bincount(unit_class[:, 1], weights=amount, minlength=classes)
    wanted_PC = shares[:, None] * total_C
    if every_class:
        units_C = np.bincount(unit_class[:, 1], minlength=classes)
        short = (wanted_PC < 1) & (units_C >= len(shares))
        lifted = np.where(short, 1.0, wanted_PC)
        largest = wanted_PC.argmax(axis=0)
        lifted[largest, np.arange(classes)] -= (lifted - wanted_PC).sum(axis=0)
        wanted_PC = lifted
    return wanted_PC


def _none_empty(part: Rows, size: Rows, count: int) -> Rows:
    """Gives a part that got nothing the smallest unit of the part with most units."""
    for number in range(count):
        if not (part == number).any():
            giver = np.bincount(part, minlength=count).argmax()
            candidates = np.flatnonzero(part == giver)
            part[candidates[size[candidates].argmin()]] = number
    return part


def _too_few(index: Index, have: int, need: int) -> DataError:
    what = f"{len(index)} pictures make {have} independent groups, {need} are needed to split them"
    return DataError(
        Problem(index.source, what, fix="more pictures, or data.near_duplicates=false / another data.group")
    )
