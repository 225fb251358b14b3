"""Figures of class maps from what their pictures counted: IoU, Dice, accuracy, and the rims' IoU, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from espalier.blocks import Figure
from espalier.tasks import intervals
from espalier.tasks.collected import Interval, Pictures, mean_of_shares, percentile

KEYS = ("miou", "mdice", "boundary_iou", "mean_accuracy", "pixel_accuracy")
WORDS = {
    "miou": "mIoU",
    "mdice": "mean Dice",
    "boundary_iou": "mean boundary IoU",
    "mean_accuracy": "mean class accuracy",
    "pixel_accuracy": "pixel accuracy",
}
TRUTH, SAID, BOTH, TRUTH_RIM, SAID_RIM, BOTH_RIMS = range(6)
SUMS = 6  # of each class: what every figure is made of
PER_CLASS = ("iou", "dice", "boundary_iou", "accuracy")


@dataclass(frozen=True)
class Kept:
    """What is kept of N pictures: `counts` (N, `counts.width(C)`), sparse, since few classes meet in one picture."""

    pictures: Pictures
    classes: tuple[str, ...]
    counts: sparse.csr_array

    @cached_property
    def weighted(self) -> sparse.csr_array:
        """(N, …) the counts; of a picture that was scored several times each row has its share."""
        return sparse.csr_array(sparse.diags_array(self.pictures.weight_N) @ self.counts)

    @cached_property
    def confusion_TP(self) -> NDArray[np.float64]:
        """(C, C) pixels of each class, a row, that were said to be of each."""
        size = len(self.classes)
        return np.asarray(self.weighted.sum(axis=0)).ravel()[: size * size].reshape(size, size)

    @cached_property
    def rows(self) -> sparse.csr_array:
        """(N, SUMS × C) what each picture adds to the sums that `figures` reads."""
        return sparse.csr_array(self.weighted @ _summing(len(self.classes)))

    @property
    def known(self) -> NDArray[np.float64]:
        """(N,) pixels that counted."""
        size = len(self.classes)
        return np.asarray(self.rows[:, TRUTH * size : (TRUTH + 1) * size].sum(axis=1)).ravel()


def _summing(size: int) -> sparse.csr_array:
    """(K, SUMS × C) from a picture's counts to its sums."""
    cell = np.arange(size * size)
    each = np.arange(size)
    side = size * size + np.arange(3 * size)
    rows = [cell, cell, each * (size + 1), side]
    columns = [
        TRUTH * size + cell // size,
        SAID * size + cell % size,
        BOTH * size + each,
        TRUTH_RIM * size + side - size**2,
    ]
    place = (np.concatenate(rows), np.concatenate(columns))
    shape = (size * size + 3 * size, SUMS * size)
    return sparse.csr_array((np.ones(len(place[0])), place), shape=shape)


def per_class(sums_BK: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """(B, C) each of `PER_CLASS`; NaN for a class that is neither there nor said (accuracy: not there)."""
    truth, said, both, truth_rim, said_rim, rims = np.split(sums_BK, SUMS, axis=1)
    return {
        "iou": _ratio(both, truth + said - both),
        "dice": _ratio(2 * both, truth + said),
        "boundary_iou": _ratio(rims, truth_rim + said_rim - rims),
        "accuracy": _ratio(both, truth),
    }


def figures(
    sums_BK: NDArray[np.float64], absent: Mapping[str, NDArray[np.float64]] | None = None
) -> NDArray[np.float64]:
    """(B, F) the figures of `KEYS`. Means leave out the classes that are neither there nor said; with `absent` such a
    class counts with that value (1, C), where it has one."""
    found = per_class(sums_BK)
    if absent is not None:
        found = {name: np.where(np.isnan(found[name]), absent[name], found[name]) for name in PER_CLASS}
    truth, _, both, *_ = np.split(sums_BK, SUMS, axis=1)
    means = [_mean(found[name]) for name in PER_CLASS]
    return np.stack([*means, _ratio(both.sum(axis=1), truth.sum(axis=1))], axis=1)


def of_resamples(rows: sparse.csr_array) -> intervals.Statistic:
    """The figures of resamples of these rows: a class that a resample misses counts as in all of them. Left out, it
    would raise the mean wherever a rare class that is hard to find was not drawn."""
    return partial(figures, absent=per_class(intervals.totals(rows)))


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 1e-9))


def _mean(value_BC: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B,) the mean of what is no NaN; NaN where nothing is."""
    there_BC = ~np.isnan(value_BC)
    return _ratio(np.where(there_BC, value_BC, 0.0).sum(axis=1), there_BC.sum(axis=1).astype(np.float64))


def with_intervals(kept: Kept, *, bootstrap: int, seed: int) -> dict[str, Figure]:
    """The figures of `KEYS` by key; without resamples they have no interval."""
    sums_1K = intervals.totals(kept.rows)
    values = figures(sums_1K)[0]
    between = [Interval()] * len(KEYS)
    if bootstrap:
        statistic = of_resamples(kept.rows)
        drawn_BF = intervals.resample(kept.rows, statistic, n=bootstrap, seed=seed, groups=kept.pictures.unit_N)
        between = [_between(drawn_BF[:, i], value) for i, value in enumerate(values)]
    return {key: between[i].figure(WORDS[key], float(values[i]), "%") for i, key in enumerate(KEYS)}


def _between(drawn_B: NDArray[np.float64], value: float) -> Interval:
    """The bootstrap's interval. Of one picture or group there is none: every resample is alike."""
    if np.nanmax(drawn_B, initial=-np.inf) - np.nanmin(drawn_B, initial=np.inf) <= 1e-12:
        return Interval(note="every resample is alike, so there is no interval to give")
    return mean_of_shares(drawn_B, value, (), ())


def class_figures(kept: Kept, *, bootstrap: int, seed: int) -> dict[str, list[Figure | None]]:
    """The C figures of each of `PER_CLASS`; None where there is none. IoU has its interval."""
    found = per_class(intervals.totals(kept.rows))
    plain = {name: [_figure(name, value) for value in found[name][0]] for name in PER_CLASS}
    if not bootstrap:
        return plain

    def iou(sums_BK: NDArray[np.float64]) -> NDArray[np.float64]:
        return per_class(sums_BK)["iou"]

    drawn_BC = intervals.resample(kept.rows, iou, n=bootstrap, seed=seed, groups=kept.pictures.unit_N)
    with_their = [None if figure is None else _banded(figure, drawn_BC[:, c]) for c, figure in enumerate(plain["iou"])]
    return {**plain, "iou": with_their}


def _figure(name: str, value: float) -> Figure | None:
    return None if np.isnan(value) else Figure(name, float(value), unit="%")


def _banded(figure: Figure, drawn_B: NDArray[np.float64]) -> Figure:
    return percentile(drawn_B[np.isfinite(drawn_B)]).figure(figure.name, figure.value, "%") if len(drawn_B) else figure


def confused(kept: Kept, most: int) -> Sequence[tuple[int, int, float]]:
    """(truth, said, pixels) of the pairs of classes that are mixed up most, the largest first."""
    wrong_TP = kept.confusion_TP * (1 - np.eye(len(kept.classes)))
    order = np.argsort(-wrong_TP.ravel(), kind="stable")[:most]
    pairs = [(int(place) // len(kept.classes), int(place) % len(kept.classes)) for place in order]
    return [(truth, said, float(wrong_TP[truth, said])) for truth, said in pairs if wrong_TP[truth, said] > 0]
