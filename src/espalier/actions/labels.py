"""The label curve: the score over the number of labelled pictures, and what more of them would bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier.blocks import Block, Curve, Figure, Series, Text
from espalier.tasks import intervals

SHARES = (0.25, 0.5, 1.0)
MORE = 100  # pictures whose gain is foretold
POWERS = (0.3, 1.0)  # of n in score = a - b / n^power: what learning curves of pretrained encoders show
GRID = 25


@dataclass(frozen=True)
class LabelPoint:
    """The headline figure of heads trained on `labels` pictures, and its resamples (B,), paired over points."""

    labels: float
    value: float
    drawn_B: NDArray[np.float64]


@dataclass(frozen=True)
class LabelCurve:
    """The points, and the gain that `more` pictures beyond `labels_now` are expected to bring, with its interval."""

    points: tuple[LabelPoint, ...]
    labels_now: int
    more: int
    gain: Figure
    ahead: Series

    @property
    def words(self) -> str:
        """Such as '100 more labelled pictures ≈ +2 ± 1 points'."""
        low, high = self.gain.low or 0.0, self.gain.high or 0.0
        text = f"{self.more} more labelled pictures ≈ {100 * self.gain.value:+.1f} ± {50 * (high - low):.1f} points"
        return text if low > 0 or high < 0 else f"{text}: no gain that can be told from chance"


def subset(
    rows: NDArray[np.int64], class_N: NDArray[np.int64], share: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """A share of the rows, drawn class by class (at least two of each, where there are two), in ascending order.

    `class_N` gives the stratum of every picture, not only of `rows`.
    """
    kept = []
    for label in np.unique(class_N[rows]):
        own = rng.permutation(rows[class_N[rows] == label])
        kept.append(own[: max(min(2, len(own)), round(share * len(own)))])
    return np.sort(np.concatenate(kept))


def extrapolate(
    points: Sequence[LabelPoint], *, labels_now: int, name: str, more: int = MORE, seed: int = 0
) -> LabelCurve:
    """The curve through the points and beyond: score = a - b / n^power, fitted to each resample of the pictures.

    The power is drawn anew for each resample, so that the interval also holds what the shape of the curve leaves open.
    A score can't pass 1. Raises ValueError with fewer than two points.
    """
    if len(points) < 2:
        raise ValueError("a curve needs two points")
    labels_P = np.asarray([point.labels for point in points])
    drawn_BP = np.stack([point.drawn_B for point in points], axis=1)
    power_B = np.random.default_rng(seed).uniform(*POWERS, len(drawn_BP))
    slope_B, level_B = _fit(labels_P, drawn_BP, power_B)
    gain_B = _gain(slope_B, level_B, power_B, labels_now, more)
    low, high = intervals.percentiles(gain_B)
    x = np.geomspace(labels_P.min(), labels_now + more, GRID)
    y_BX = np.clip(level_B[:, None] - slope_B[:, None] * x ** -power_B[:, None], 0.0, 1.0)
    low_X, high_X = intervals.percentiles(y_BX)
    middle_X = np.median(y_BX, axis=0)
    ahead = Series("expected", x.tolist(), middle_X.tolist(), low_X.tolist(), high_X.tolist(), dashed=True)
    gain = Figure(f"{name} that {more} more pictures bring", float(np.mean(gain_B)), float(low), float(high), "%")
    return LabelCurve(tuple(points), labels_now, more, gain, ahead)


def _fit(
    labels_P: NDArray[np.float64], drawn_BP: NDArray[np.float64], power_B: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(slope b, level a) of each resample, by least squares."""
    x_BP = labels_P ** -power_B[:, None]
    x_mean, y_mean = x_BP.mean(axis=1), drawn_BP.mean(axis=1)
    apart = x_BP - x_mean[:, None]
    slope_B = -(apart * (drawn_BP - y_mean[:, None])).sum(axis=1) / (apart**2).sum(axis=1)
    return slope_B, y_mean + slope_B * x_mean


def _gain(
    slope_B: NDArray[np.float64], level_B: NDArray[np.float64], power_B: NDArray[np.float64], now: int, more: int
) -> NDArray[np.float64]:
    before, after = (np.clip(level_B - slope_B * float(n) ** -power_B, 0.0, 1.0) for n in (now, now + more))
    return np.asarray(after - before)


def blocks(curve: LabelCurve, name: str) -> list[Block]:
    """The plot and its sentence, for the report's section 'labels'."""
    bands = [intervals.percentiles(point.drawn_B) for point in curve.points]
    measured = Series(
        "measured",
        [point.labels for point in curve.points],
        [point.value for point in curve.points],
        [float(low) for low, _ in bands],
        [float(high) for _, high in bands],
    )
    note = (
        "The frozen encoder's head on 25, 50 and 100 % of the training labels, scored on pictures they never saw; "
        "bands are 95 % intervals over pictures. The dashed line is a - b / n^power, the power open from 0.3 to 1."
    )
    plot = Curve("More labels?", "labelled pictures to learn from", name, [measured, curve.ahead], note, log_x=True)
    return [plot, Text("What more labels would bring", curve.words)]
