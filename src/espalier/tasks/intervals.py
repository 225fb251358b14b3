"""95 % intervals by resampling pictures (or groups of pictures), never boxes; everything vectorised.

A statistic is a function of sums over pictures: accuracy of (right, all), macro-F1 of (true positives, predicted, true)
of each class. So a resample is a weighted sum of rows, and thousands of resamples are one matrix product. Statistics
that need an order (average precision) take the resamples' weights themselves: see `weights`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Rows = NDArray[Any] | Any
"""(N, K) sums' parts, one row a picture: a dense array, or a scipy sparse array."""

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""sums (B, K) of B resamples → values (B,) or (B, F)."""

Interval = tuple[float, float]

LEVEL_PERCENT = 95.0
Z = 1.959963984540054  # the normal's 97.5 % point
CHUNK_BYTES = 24 << 20


def units(groups: Sequence[Any] | NDArray[Any] | None, count: int) -> NDArray[np.int64]:
    """The unit number of each of `count` pictures: its group's, or its own without a group ('' or None)."""
    if groups is None or len(groups) == 0:
        return np.arange(count, dtype=np.int64)
    if isinstance(groups, np.ndarray) and groups.dtype.kind in "iu":
        return np.asarray(np.unique(groups, return_inverse=True)[1], np.int64).ravel()
    keys = [(0, str(g)) if g not in (None, "") else (1, str(i)) for i, g in enumerate(groups)]
    number: dict[tuple[int, str], int] = {}
    return np.asarray([number.setdefault(key, len(number)) for key in keys], np.int64)


def weights(count: int, *, n: int, seed: int, width: int = 0) -> Iterator[NDArray[np.float64]]:
    """`n` resamples of `count` units with replacement, in chunks (b, count): how often each unit was drawn.

    The draws depend on `count`, `n` and `seed` alone, not on the chunk's size. `width` is what the caller holds for a
    resample besides the weights (values), so that chunks stay small.
    """
    rng = np.random.default_rng(seed)
    step = max(1, min(n, CHUNK_BYTES // (8 * max(1, 2 * count + width))))
    for start in range(0, n, step):
        rows = min(step, n - start)
        drawn = rng.integers(0, count, (rows, count), dtype=np.int64)
        drawn += (np.arange(rows, dtype=np.int64) * count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def unit_sums(rows: Rows, unit_N: NDArray[np.int64]) -> Rows:
    """The rows of each unit added up, (U, K)."""
    count = int(unit_N.max()) + 1 if len(unit_N) else 0
    if count == len(unit_N) and np.array_equal(unit_N, np.arange(count)):
        return rows
    member_UN = sparse.csr_array(
        (np.ones(len(unit_N)), (unit_N, np.arange(len(unit_N)))), shape=(count, len(unit_N)), dtype=np.float64
    )
    return member_UN @ rows


def totals(rows: Rows) -> NDArray[np.float64]:
    """The sums over all pictures, (1, K): what a statistic takes for the value itself."""
    return np.asarray(rows.sum(axis=0), np.float64).reshape(1, -1)


def resample(
    rows: Rows, statistic: Statistic, *, n: int, seed: int, groups: Sequence[Any] | NDArray[Any] | None = None
) -> NDArray[np.float64]:
    """The statistic of `n` resamples, (n,) or (n, F)."""
    rows = _two_axes(rows)
    table: Any = unit_sums(rows, units(groups, rows.shape[0]))
    turned: Any = table.T.tocsr() if sparse.issparse(table) else None
    values = []
    for weights_BU in weights(table.shape[0], n=n, seed=seed, width=table.shape[1]):
        sums_BK = (turned @ weights_BU.T).T if turned is not None else weights_BU @ table
        values.append(np.asarray(statistic(np.asarray(sums_BK, np.float64)), np.float64))
    return np.concatenate(values)


def percentiles(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The middle 95 % of values along the first axis; NaN where nothing is finite."""
    tail = (100.0 - LEVEL_PERCENT) / 2
    finite = np.isfinite(values).any(axis=0)
    safe = np.where(finite, values, 0.0)
    low, high = np.nanpercentile(safe, [tail, 100.0 - tail], axis=0)
    return np.where(finite, low, np.nan), np.where(finite, high, np.nan)


def moved(
    values: NDArray[np.float64], value: NDArray[np.float64] | float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The middle 95 % of values along the first axis, moved back by what resampling itself adds to the figure.

    Average precision rises when pictures are drawn twice: the mean of the resamples lies above `value` as `value` lies
    above what ever more pictures would give. The interval covers both what other sets of this size would give (moved by
    that much) and what ever more pictures would (by twice as much); it always holds the value.
    """
    low, high = percentiles(values)
    finite = np.isfinite(values)
    count = finite.sum(axis=0)
    mean = np.where(finite, values, 0.0).sum(axis=0) / np.where(count > 0, count, np.nan)
    shift = mean - value
    return (
        np.minimum(low - np.where(shift > 0, 2, 1) * shift, value),
        np.maximum(high - np.where(shift > 0, 1, 2) * shift, value),
    )


def bootstrap(
    rows: Rows, statistic: Statistic, *, n: int, seed: int, groups: Sequence[Any] | NDArray[Any] | None = None
) -> Interval:
    """The 95 % percentile interval of one statistic over `n` resamples of the pictures, or of their groups."""
    low, high = percentiles(resample(rows, statistic, n=n, seed=seed, groups=groups))
    return float(low), float(high)


def paired_bootstrap(
    rows_a: Rows,
    rows_b: Rows,
    statistic: Statistic,
    *,
    n: int,
    seed: int,
    groups: Sequence[Any] | NDArray[Any] | None = None,
) -> Interval:
    """The 95 % interval of the statistic of B less that of A, both on the same resamples of the same pictures."""
    values = resample_difference(rows_a, rows_b, statistic, statistic, n=n, seed=seed, groups=groups)
    low, high = percentiles(values)
    return float(low), float(high)


def resample_difference(
    rows_a: Rows,
    rows_b: Rows,
    statistic_a: Statistic,
    statistic_b: Statistic,
    *,
    n: int,
    seed: int,
    groups: Sequence[Any] | NDArray[Any] | None = None,
) -> NDArray[np.float64]:
    """B's statistic less A's on each of `n` common resamples, (n,) or (n, F). Raises ValueError for unpaired rows."""
    rows_a, rows_b = _two_axes(rows_a), _two_axes(rows_b)
    if rows_a.shape[0] != rows_b.shape[0]:
        raise ValueError(f"paired rows must be of the same pictures, not {rows_a.shape[0]} and {rows_b.shape[0]}")
    width = rows_a.shape[1]

    def difference(sums_BK: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(statistic_b(sums_BK[:, width:]) - statistic_a(sums_BK[:, :width]), np.float64)

    is_sparse = sparse.issparse(rows_a) or sparse.issparse(rows_b)
    both = sparse.hstack([rows_a, rows_b]).tocsr() if is_sparse else np.hstack([rows_a, rows_b])
    return resample(both, difference, n=n, seed=seed, groups=groups)


def wilson(k: float, n: float) -> Interval:
    """Wilson's 95 % score interval of a proportion `k` of `n`: honest at 0 and 100 %, where a bootstrap collapses."""
    if n <= 0:
        return 0.0, 1.0
    share = min(max(float(k) / float(n), 0.0), 1.0)
    middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * float(np.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))) / (1 + Z * Z / n)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return (0.0 if share == 0.0 else float(low)), (1.0 if share == 1.0 else float(high))


def agresti_min(difference_N: NDArray[np.float64], groups: Sequence[Any] | NDArray[Any] | None = None) -> Interval:
    """The 95 % interval of a paired difference of proportions that stays honest when few pictures changed sides.

    `difference_N` is B's score less A's for each picture, -1 to 1. Agresti and Min (2005): half a picture is added to
    each of the four cells right/wrong × right/wrong, then Wald's interval is taken; here over the sums of groups.
    """
    count = len(difference_N)
    if count == 0:
        return -1.0, 1.0
    sums_U = np.bincount(units(groups, count), weights=difference_N)
    total = float(sums_U.sum())
    spread = float((sums_U**2).sum()) + 1.0 - total**2 / (len(sums_U) + 2)
    half = Z * float(np.sqrt(max(spread, 0.0))) / (count + 2)
    return max(-1.0, total / (count + 2) - half), min(1.0, total / (count + 2) + half)


def verdict(low: float, high: float, *, higher_is_better: bool = True) -> str:
    """'better', 'worse' or "can't tell", by the interval of B less A."""
    if not (np.isfinite(low) and np.isfinite(high)) or low <= 0 <= high:
        return "can't tell"
    return "better" if (low > 0) == higher_is_better else "worse"


def _two_axes(rows: Rows) -> Rows:
    """Dense rows as (N, K) float64; a vector is one column. Sparse rows are left as they are."""
    if sparse.issparse(rows):
        return rows
    dense = np.asarray(rows, np.float64)
    return dense[:, None] if dense.ndim == 1 else dense
