"""B against A on the same pictures: the paired difference with its interval, and the pictures that changed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from espalier.blocks import Figure
from espalier.tasks import intervals
from espalier.tasks.base import Comparison, Mistake, Scores
from espalier.tasks.detection.confidence import ALL, HALF
from espalier.tasks.detection.figures import KEYS, Kept
from espalier.tasks.pairs import Pairs, pair


def compare(a: Scores, b: Scores, *, bootstrap: int, seed: int) -> Comparison:
    """The comparison of two detectors' scores. Raises DataError when they share no picture."""
    pairs = pair(a, b)
    figures = _differences(a, b, pairs, bootstrap=bootstrap, seed=seed)
    main = figures[a.main]
    low, high = (np.nan if v is None else v for v in (main.low, main.high))
    return Comparison(
        figure=main,
        verdict=intervals.verdict(low, high, higher_is_better=a.higher_is_better),
        changed=_changed(a, b),
        n=len(pairs.names),
        others=tuple(figure for key, figure in figures.items() if key != a.main),
    )


def _differences(a: Scores, b: Scores, pairs: Pairs, *, bootstrap: int, seed: int) -> dict[str, Figure]:
    kept: tuple[Kept, Kept] = (a.per_item["kept"], b.per_item["kept"])
    found = differences(kept, pairs, lambda one, weights_NB: one.figures(weights_NB), bootstrap=bootstrap, seed=seed)
    words = kept[0].noun.words()
    return {key: found(i, words[key]) for i, key in enumerate(KEYS) if key in a.figures and key in b.figures}


def differences(
    kept: tuple[Kept, Kept],
    pairs: Pairs,
    statistic: Callable[[Kept, NDArray[np.float64]], NDArray[np.float64]],
    *,
    bootstrap: int,
    seed: int,
) -> Callable[[int, str], Figure]:
    """(row, name) → B less A of that row of a statistic (F, B) of the weights, with its paired interval."""
    one, other = kept
    unit_P = intervals.units(pairs.groups, len(pairs.groups))
    count = int(unit_P.max()) + 1

    def difference(weights_BU: NDArray[np.float64]) -> NDArray[np.float64]:
        weights_BP = weights_BU[:, unit_P]
        return np.asarray(
            statistic(other, _weights(other, pairs.picture_b, weights_BP))
            - statistic(one, _weights(one, pairs.picture_a, weights_BP))
        )

    value = difference(np.ones((1, count)))[:, 0]
    width = one.width + other.width
    chunks = intervals.weights(count, n=bootstrap, seed=seed, width=width)
    drawn_FB = np.concatenate([difference(weights) for weights in chunks], axis=1)
    low, high = intervals.moved(drawn_FB.T, value)
    return lambda row, name: Figure(name, float(value[row]), float(low[row]), float(high[row]), "%")


def _weights(kept: Kept, picture: NDArray[np.int64], weights_BP: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, B) of a model's own rows: 0 for pictures that the other one has not."""
    weights_BN = np.where(picture >= 0, weights_BP[:, np.maximum(picture, 0)], 0.0) * kept.columns.pictures.weight_N
    return np.ascontiguousarray(weights_BN.T)


def _changed(a: Scores, b: Scores) -> list[Mistake]:
    """Pictures with fewer or more mistakes (wrong boxes, missed objects), each model at its own threshold."""
    was, now = (dict(zip(s.names, _mistakes(s.per_item["kept"]).tolist(), strict=True)) for s in (a, b))
    place = {name: i for i, name in reversed(list(enumerate(a.names)))}
    changed = [
        Mistake(
            place[name],
            "fewer mistakes" if now[name] < was[name] else "more mistakes",
            abs(now[name] - was[name]),
            f"{_words(was[name])}, now {int(now[name])}",
            now[name] > was[name],
        )
        for name in place
        if name in now and now[name] != was[name]
    ]
    return sorted(changed, key=lambda m: (m.kind, -m.rank, m.index))


def _words(count: float) -> str:
    return f"{int(count)} mistake{'' if count == 1 else 's'}"


def _mistakes(kept: Kept) -> NDArray[np.int64]:
    """(N,) wrong boxes and missed objects of each picture, at an overlap of 0.5."""
    columns, matches = kept.columns, kept.matches
    found, objects, count = columns.found, columns.objects, len(columns.pictures.names)
    right, counts = matches.of(ALL, HALF)
    wrong = counts & ~right & found.said
    lost = matches.counted[:, ALL].copy()
    lost[matches.object_of(ALL, HALF)[right & found.said]] = False
    return np.bincount(found.picture[wrong], minlength=count) + np.bincount(objects.picture[lost], minlength=count)
