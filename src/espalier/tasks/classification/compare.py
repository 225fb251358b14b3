"""B against A on the same pictures: the paired difference with its interval, and the pictures that changed sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.blocks import Figure
from espalier.errors import DataError, Problem
from espalier.tasks import intervals
from espalier.tasks.base import Comparison, Mistake, Scores
from espalier.tasks.classification import several, single
from espalier.tasks.pairs import Pairs, pair

FEW_CHANGED = 20  # with fewer changed pictures than this a paired bootstrap is too narrow


def compare(a: Scores, b: Scores, *, bootstrap: int, seed: int) -> Comparison:
    """The comparison of one-label or of several-label scores. Raises DataError when they are not of the same kind."""
    if a.main != b.main:
        raise DataError(Problem("", "one model gives one label, the other several", fix="compare models of one kind"))
    pairs = pair(a, b)
    differ = _single_differences if a.main == "accuracy" else _several_differences
    figures = differ(a, b, pairs, bootstrap=bootstrap, seed=seed)
    main = figures[a.main]
    low, high = (np.nan if v is None else v for v in (main.low, main.high))
    return Comparison(
        figure=main,
        verdict=intervals.verdict(low, high, higher_is_better=a.higher_is_better),
        changed=_changed(a, b, pairs),
        n=len(pairs.names),
        others=tuple(figure for key, figure in figures.items() if key != a.main),
    )


def _rows(rows: Any, picture: NDArray[np.int64]) -> Any:
    """A row for each paired picture: the mean of its rows, which their weights make a sum."""
    kept = np.flatnonzero(picture >= 0)
    return intervals.unit_sums(rows[kept], picture[kept])


def _single_differences(a: Scores, b: Scores, pairs: Pairs, *, bootstrap: int, seed: int) -> dict[str, Figure]:
    rows_a, rows_b = _rows(a.per_item["rows"], pairs.picture_a), _rows(b.per_item["rows"], pairs.picture_b)
    value = single.figures(intervals.totals(rows_b))[0] - single.figures(intervals.totals(rows_a))[0]
    drawn = intervals.resample_difference(
        rows_a, rows_b, single.figures, single.figures, n=bootstrap, seed=seed, groups=pairs.groups
    )
    low, high = intervals.percentiles(drawn)
    keys = [key for key in single.KEYS if key in a.figures and key in b.figures]
    found = {
        key: Figure(single.WORDS[key], float(value[i]), float(low[i]), float(high[i]), single.UNITS[key])
        for i, key in enumerate(single.KEYS)
        if key in keys
    }
    right_a, right_b = (_column(rows, single.RIGHT) for rows in (rows_a, rows_b))
    return found | {"accuracy": honest(found["accuracy"], right_b - right_a, pairs.groups)}


def _column(rows: Any, place: int) -> NDArray[np.float64]:
    return np.asarray(rows[:, [place]].sum(axis=1), np.float64).ravel()


def honest(figure: Figure, difference_N: NDArray[np.float64], groups: Sequence[str]) -> Figure:
    """The figure with the wider of its own and Agresti and Min's interval when few pictures changed sides."""
    changed = int((np.abs(difference_N) > 1e-9).sum())
    if changed >= FEW_CHANGED or figure.low is None or figure.high is None:
        return figure
    low, high = intervals.agresti_min(difference_N, groups)
    note = f"{changed} pictures changed sides, few for a bootstrap: the wider of its and Agresti and Min's interval"
    return Figure(figure.name, figure.value, min(low, figure.low), max(high, figure.high), figure.unit, note)


def _several_differences(a: Scores, b: Scores, pairs: Pairs, *, bootstrap: int, seed: int) -> dict[str, Figure]:
    unit_P = intervals.units(pairs.groups, len(pairs.groups))
    count = int(unit_P.max()) + 1

    def figures(scores: Scores, picture: NDArray[np.int64], weights_BU: NDArray[np.float64]) -> NDArray[np.float64]:
        kept: several.Several = scores.per_item["kept"]
        weights_BP = weights_BU[:, unit_P]
        weights_BN = np.where(picture >= 0, weights_BP[:, np.maximum(picture, 0)], 0.0) * kept.pictures.weight_N
        return several.figures(kept, weights_BN)

    def difference(weights_BU: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(figures(b, pairs.picture_b, weights_BU) - figures(a, pairs.picture_a, weights_BU))

    value = difference(np.ones((1, count)))[0]
    width = 8 * len(a.names)
    drawn = np.concatenate([difference(w) for w in intervals.weights(count, n=bootstrap, seed=seed, width=width)])
    low, high = intervals.percentiles(drawn)
    return {
        key: Figure(several.WORDS[key], float(value[i]), float(low[i]), float(high[i]), "%")
        for i, key in enumerate(several.KEYS)
    }


def _changed(a: Scores, b: Scores, pairs: Pairs) -> list[Mistake]:
    """'gained': B is right where A was wrong; 'lost': the other way round. The surest answers come first."""
    rows_b = {name: i for i, name in reversed(list(enumerate(b.names)))}
    seen: set[str] = set()
    changed = []
    for i, name in enumerate(a.names):
        if name in seen or name not in rows_b:
            continue
        seen.add(name)
        j = rows_b[name]
        was, now = bool(a.per_item["right"][i]), bool(b.per_item["right"][j])
        if was != now:
            sure = float(a.per_item["confidence"][i]) + float(b.per_item["confidence"][j])
            changed.append(
                Mistake(i, "gained" if now else "lost", sure, _caption(a.per_item, i, b.per_item, j), not now)
            )
    return sorted(changed, key=lambda m: (m.kind, -m.rank))


def _caption(a: Mapping[str, Any], i: int, b: Mapping[str, Any], j: int) -> str:
    return f"{a['true_label'][i]}; said {a['said'][i]}, now {b['said'][j]}"
