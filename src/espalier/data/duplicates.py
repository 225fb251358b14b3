"""Pictures that show the same: the same file, or one that was scaled, recompressed or slightly toned.

A perceptual hash proposes pairs and small copies of the pictures in colour decide, since plain or alike pictures can
share a hash. Pairs are found without comparing all with all: two hashes that differ in at most five of 64 bits agree
wholly in one of six parts. A picture that was cut by a few per cent is not recognised.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from espalier.data.scan import Scan

MAX_BITS = 5
_PARTS = ((0, 11), (11, 11), (22, 11), (33, 11), (44, 10), (54, 10))  # (first bit, bits)
_SAME = 0.98  # correlation of the small copies
_FLAT_STD, _FLAT_MEAN = 2.0, 3.0  # plain pictures have no correlation: their colour is compared
_CELLS = 1 << 22  # pairs that are looked at together
_BITS16 = np.array([number.bit_count() for number in range(1 << 16)], np.uint8)


def clusters(scan: Scan) -> NDArray[np.int64]:
    """(N,) a number for each picture; near-duplicates, and only they, share theirs. Unreadable pictures stand alone."""
    pairs = near_duplicates(scan)
    return connected(len(scan.problems), pairs)


def connected(count: int, pair_K2: NDArray[np.int64]) -> NDArray[np.int64]:
    """(count,) the component of each item in the graph of the pairs."""
    graph = coo_array((np.ones(len(pair_K2), np.bool_), (pair_K2[:, 0], pair_K2[:, 1])), shape=(count, count))
    labels: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def near_duplicates(scan: Scan) -> NDArray[np.int64]:
    """(K, 2) pairs of rows that show the same: enough of them to connect every group of duplicates.

    None where the scan did not compare.
    """
    rows = np.flatnonzero(scan.readable)
    if len(rows) < 2 or not scan.compared:
        return np.zeros((0, 2), np.int64)
    leaders, found = _same_hash(scan, rows)
    for pairs in _candidates(scan.hash[leaders]):
        pairs = leaders[pairs]
        found.append(pairs[_alike(scan, pairs)])
    return np.unique(np.concatenate(found), axis=0)


def _same_hash(scan: Scan, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Joins equal pictures of equal hashes to their first; gives the firsts, and the pairs made."""
    leaders, found = [], []
    left = rows[np.argsort(scan.hash[rows], kind="stable")]
    while len(left):
        first = np.concatenate([[True], scan.hash[left][1:] != scan.hash[left][:-1]])
        leader = left[np.maximum.accumulate(np.where(first, np.arange(len(left)), 0))]
        leaders.append(left[first])
        pairs = np.stack([leader[~first], left[~first]], axis=1)
        same = _alike(scan, pairs)
        found.append(pairs[same])
        left = pairs[~same, 1]
        if len(leaders) == 64:  # many unlike pictures under one hash: plain ones; each stands alone
            break
    return np.sort(np.concatenate(leaders)), found


def _candidates(hash_N: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """Pairs (K, 2) of places whose hashes differ in at most MAX_BITS; some come more than once."""
    for first_bit, bits in _PARTS:
        key = (hash_N >> np.uint64(first_bit)) & np.uint64((1 << bits) - 1)
        order = np.argsort(key, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
            yield from _within(hash_N, group)


def _within(hash_N: NDArray[np.uint64], group: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    step = max(1, _CELLS // len(group))
    for start in range(0, len(group) - 1, step):
        part = group[start : start + step]
        near = bits_between(hash_N[part][:, None], hash_N[group][None]) <= MAX_BITS
        a, b = np.nonzero(near & (np.arange(len(group))[None] > np.arange(start, start + len(part))[:, None]))
        if len(a):
            yield np.stack([part[a], group[b]], axis=1)


def bits_between(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Differing bits of hashes, broadcast. (`vision.phash.hamming`, in an eighth of its memory.)"""
    parts = np.ascontiguousarray(a ^ b)[..., None].view(np.uint16)
    counts: NDArray[np.uint8] = _BITS16[parts].sum(axis=-1, dtype=np.uint8)
    return counts


def _alike(scan: Scan, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(K,) do the small copies of each pair agree?"""
    step = 1 << 16
    parts = [_alike_part(scan.thumb, pairs[start : start + step]) for start in range(0, len(pairs), step)]
    return np.concatenate([np.zeros(0, np.bool_), *parts])


def _alike_part(thumb: NDArray[np.uint8], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    a, b = (thumb[pairs[:, side]].astype(np.float32) for side in (0, 1))
    mean_a, mean_b = a.mean(axis=1), b.mean(axis=1)
    std_a, std_b = a.std(axis=1), b.std(axis=1)
    product = ((a - mean_a[:, None]) * (b - mean_b[:, None])).mean(axis=1)
    correlated = product >= _SAME * std_a * std_b
    flat = (std_a < _FLAT_STD) & (std_b < _FLAT_STD)
    same: NDArray[np.bool_] = np.where(
        flat, np.abs(mean_a - mean_b) < _FLAT_MEAN, correlated & (std_a > 0) & (std_b > 0)
    )
    return same
