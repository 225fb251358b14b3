"""The label curve: what it draws, and what it foretells of a curve that is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from espalier.actions import labels
from espalier.actions.labels import LabelPoint
from espalier.blocks import Curve, Text, to_json


def points(score: NDArray[np.float64], noise: float, sizes: tuple[float, ...] = (50, 100, 200)) -> list[LabelPoint]:
    """Points whose resamples share most of their noise, as those of the same pictures do."""
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 0.03, 1000)
    return [LabelPoint(n, float(s), s + shared + rng.normal(0, noise, 1000)) for n, s in zip(sizes, score, strict=True)]


@pytest.mark.parametrize("power", [0.4, 0.7, 0.9])
def test_a_known_curve_is_foretold(power: float) -> None:
    """score = 0.9 - 2 n^-power: the true gain of 100 more lies in the interval, which is narrower than 2 points."""
    sizes = np.array([50.0, 100, 200])
    found = labels.extrapolate(points(0.9 - 2 * sizes**-power, 0.0005), labels_now=200, name="accuracy")
    gain = 2 * (200.0**-power - 300.0**-power)
    assert found.gain.low is not None
    assert found.gain.high is not None
    assert found.gain.low <= gain <= found.gain.high
    assert found.gain.low > 0
    assert found.gain.high - found.gain.low < 0.06
    assert found.words.startswith("100 more labelled pictures ≈ +")


def test_noise_is_not_sold_as_gain() -> None:
    found = labels.extrapolate(points(np.array([0.80, 0.82, 0.81]), 0.03), labels_now=200, name="accuracy")
    assert found.gain.low is not None
    assert found.gain.low < 0 < (found.gain.high or 0)
    assert found.words.endswith("no gain that can be told from chance")


def test_a_score_cannot_pass_one() -> None:
    found = labels.extrapolate(points(np.array([0.5, 0.8, 0.999]), 0.0), labels_now=200, name="accuracy")
    assert max(found.ahead.y) <= 1.0
    assert (found.gain.high or 0) <= 1 - 0.999 + 0.2


def test_one_point_is_no_curve() -> None:
    with pytest.raises(ValueError, match="two points"):
        labels.extrapolate(points(np.array([0.5]), 0, (10,)), labels_now=10, name="accuracy")


def test_blocks_say_it() -> None:
    found = labels.extrapolate(points(np.array([0.7, 0.8, 0.85]), 0.01), labels_now=200, name="accuracy")
    plot, text = labels.blocks(found, "accuracy")
    assert isinstance(plot, Curve)
    assert [series.name for series in plot.series] == ["measured", "expected"]
    assert isinstance(text, Text)
    assert text.text == found.words
    assert to_json(plot)["series"][0]["x"] == [50, 100, 200]


def test_a_share_keeps_every_class() -> None:
    classes = np.array([0] * 40 + [1] * 8 + [2] * 1)
    rows = np.arange(49)
    drawn = labels.subset(rows, classes, 0.25, np.random.default_rng(0))
    assert np.bincount(classes[drawn]).tolist() == [10, 2, 1]
    assert (np.diff(drawn) > 0).all()
    only = labels.subset(rows[:10], classes, 0.5, np.random.default_rng(0))
    assert len(only) == 5
    assert only.max() < 10
