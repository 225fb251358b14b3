"""Intervals: against formulas, against a plain loop, and where a bootstrap would lie."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from espalier.tasks import intervals


def mean(sums_BK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Right over all."""
    return sums_BK[:, 0] / sums_BK[:, 1]


def rows(right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N, 2): right, one."""
    return np.stack([right, np.ones(len(right))], axis=1).astype(np.float64)


def test_bootstrap_of_a_share_is_the_binomial_interval() -> None:
    right = np.arange(1000) < 800
    low, high = intervals.bootstrap(rows(right), mean, n=4000, seed=1)
    half = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert low == pytest.approx(0.8 - half, abs=0.003)
    assert high == pytest.approx(0.8 + half, abs=0.003)


def test_bootstrap_repeats_with_its_seed_and_not_with_another() -> None:
    right = np.random.default_rng(0).random(60) < 0.7
    first, again, other = (intervals.bootstrap(rows(right), mean, n=200, seed=s) for s in (3, 3, 4))
    assert first == again != other


def test_chunks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(intervals.weights(17, n=50, seed=5)))
    monkeypatch.setattr(intervals, "CHUNK_BYTES", 1000)
    assert np.array_equal(whole, np.concatenate(list(intervals.weights(17, n=50, seed=5))))
    assert (whole.sum(axis=1) == 17).all()


def test_sparse_and_dense_rows_agree() -> None:
    dense = rows(np.random.default_rng(0).random(80) < 0.4)
    a = intervals.resample(dense, mean, n=100, seed=0)
    b = intervals.resample(sparse.csr_array(dense), mean, n=100, seed=0)
    np.testing.assert_allclose(a, b)


def test_groups_are_resampled_whole() -> None:
    """Ten groups of a hundred equal pictures carry ten pictures' worth of knowledge."""
    right = np.repeat(np.arange(10) < 7, 100)
    groups = np.repeat([f"g{i}" for i in range(10)], 100)
    alone = intervals.bootstrap(rows(right), mean, n=2000, seed=0)
    grouped = intervals.bootstrap(rows(right), mean, n=2000, seed=0, groups=groups)
    ten = intervals.bootstrap(rows(np.arange(10) < 7), mean, n=2000, seed=0)
    assert grouped == pytest.approx(ten)
    assert grouped[1] - grouped[0] > 5 * (alone[1] - alone[0])


def test_pictures_without_a_group_are_their_own_unit() -> None:
    assert intervals.units(["a", "", "a", "", None], 5).tolist() == [0, 1, 0, 2, 3]
    assert intervals.units(None, 3).tolist() == [0, 1, 2]
    assert intervals.units(np.array([7, 3, 7]), 3).tolist() == [1, 0, 1]


def test_paired_interval_is_narrower_than_two_apart() -> None:
    rng = np.random.default_rng(0)
    a = rng.random(400) < 0.8
    b = a.copy()
    b[:20] = ~b[:20]
    low, high = intervals.paired_bootstrap(rows(a), rows(b), mean, n=1000, seed=0)
    assert low < b.mean() - a.mean() < high
    assert high - low < 0.06 < 2 * 1.96 * np.sqrt(2 * 0.8 * 0.2 / 400)
    with pytest.raises(ValueError, match="same pictures"):
        intervals.paired_bootstrap(rows(a), rows(b[:9]), mean, n=10, seed=0)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (49, 50, 0.8950, 0.9965)],
)
def test_wilson(k: int, n: int, low: float, high: float) -> None:
    assert intervals.wilson(k, n) == pytest.approx((low, high), abs=1e-4)


def test_wilson_of_nothing_says_nothing() -> None:
    assert intervals.wilson(0, 0) == (0.0, 1.0)


def test_agresti_min_by_hand() -> None:
    """4 won, none lost of 50: 4/52 ± 1.96·√(5 − 16/52)/52."""
    difference = np.concatenate([np.ones(4), np.zeros(46)])
    half = 1.959964 * np.sqrt(5 - 16 / 52) / 52
    assert intervals.agresti_min(difference) == pytest.approx((4 / 52 - half, 4 / 52 + half), abs=1e-6)
    one_group = intervals.agresti_min(difference, ["same"] * 50)
    assert one_group[1] - one_group[0] > 2 * half


@pytest.mark.parametrize(
    ("low", "high", "higher", "said"),
    [
        (0.1, 0.2, True, "better"),
        (0.1, 0.2, False, "worse"),
        (-0.2, -0.1, True, "worse"),
        (-0.1, 0.1, True, "can't tell"),
        (0.0, 0.1, True, "can't tell"),
        (np.nan, np.nan, True, "can't tell"),
    ],
)
def test_verdict(low: float, high: float, higher: bool, said: str) -> None:
    assert intervals.verdict(low, high, higher_is_better=higher) == said


def test_coverage_on_small_sets() -> None:
    """Of 300 drawn sets of 100 pictures about 95 % of the intervals hold the truth."""
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(300):
        low, high = intervals.bootstrap(rows(rng.random(100) < 0.8), mean, n=400, seed=seed)
        held += low <= 0.8 <= high
    assert 0.90 <= held / 300 <= 0.985


def test_a_thousand_resamples_of_five_thousand_pictures_are_quick() -> None:
    right = np.random.default_rng(0).random(5000) < 0.9
    start = time.perf_counter()
    intervals.bootstrap(rows(right), mean, n=1000, seed=0)
    assert time.perf_counter() - start < 1.0
