"""B against A on the same pictures: the paired differences with their intervals, and the pictures that changed most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from espalier.blocks import Figure
from espalier.tasks import intervals
from espalier.tasks.base import Comparison, Mistake, Scores
from espalier.tasks.pairs import pair
from espalier.tasks.segmentation.figures import BOTH, KEYS, TRUTH, WORDS, Kept, figures, of_resamples

LEAST = 0.01  # of a picture's pixels: a smaller change is not shown


def compare(a: Scores, b: Scores, *, bootstrap: int, seed: int) -> Comparison:
    """The comparison of two segmenters' scores. Raises DataError when they share no picture."""
    pairs = pair(a, b)
    rows_a, rows_b = (
        _rows(scores.per_item["kept"], picture) for scores, picture in ((a, pairs.picture_a), (b, pairs.picture_b))
    )
    value = figures(intervals.totals(rows_b))[0] - figures(intervals.totals(rows_a))[0]
    low, high = _between(rows_a, rows_b, pairs.groups, bootstrap=bootstrap, seed=seed)
    found = [Figure(WORDS[key], float(value[i]), float(low[i]), float(high[i]), "%") for i, key in enumerate(KEYS)]
    return Comparison(
        figure=found[0],
        verdict=intervals.verdict(float(low[0]), float(high[0])),
        changed=_changed(a, b),
        n=len(pairs.names),
        others=tuple(found[1:]),
    )


def _rows(kept: Kept, picture_N: NDArray[np.int64]) -> sparse.csr_array:
    """(P, K) the sums of each paired picture."""
    rows = np.flatnonzero(picture_N >= 0)
    return sparse.csr_array(intervals.unit_sums(kept.rows[rows], picture_N[rows]))


def _between(
    rows_a: sparse.csr_array, rows_b: sparse.csr_array, groups: tuple[str, ...], *, bootstrap: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not bootstrap:
        return np.full(len(KEYS), np.nan), np.full(len(KEYS), np.nan)
    statistics = of_resamples(rows_a), of_resamples(rows_b)
    drawn = intervals.resample_difference(rows_a, rows_b, *statistics, n=bootstrap, seed=seed, groups=groups)
    return intervals.percentiles(drawn)


def _changed(a: Scores, b: Scores) -> list[Mistake]:
    """Pictures of which fewer or more pixels are right, those that changed most first."""
    was, now = (dict(zip(s.names, right_share(s.per_item["kept"]).tolist(), strict=True)) for s in (a, b))
    place = {name: i for i, name in reversed(list(enumerate(a.names)))}
    changed = [
        _change(place[name], was[name], now[name])
        for name in place
        if name in now and abs(now[name] - was[name]) >= LEAST
    ]
    return sorted(changed, key=lambda m: (m.kind, -m.rank, m.index))


def _change(index: int, was: float, now: float) -> Mistake:
    kind = "fewer mistakes" if now > was else "more mistakes"
    return Mistake(index, kind, abs(now - was), f"{100 * was:.1f} % of pixels right, now {100 * now:.1f} %", now < was)


def right_share(kept: Kept) -> NDArray[np.float64]:
    """(N,) the share of each picture's labelled pixels that is right."""
    size = len(kept.classes)
    both, truth = (
        np.asarray(kept.rows[:, part * size : (part + 1) * size].sum(axis=1)).ravel() for part in (BOTH, TRUTH)
    )
    return np.asarray(both / np.maximum(truth, 1e-12))
