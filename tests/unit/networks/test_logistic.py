"""The head on frozen features against scikit-learn, and that its penalty is chosen without looking across groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from espalier.networks.classifier.logistic import PENALTIES, fit_head, inner_folds

Array = NDArray[np.float64]


def drawn(count: int, width: int, classes: int, *, apart: float, seed: int = 0) -> tuple[Array, NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    y = np.arange(count) % classes
    centre = np.random.default_rng(99).normal(size=(classes, width)) * apart
    return centre[y] + rng.normal(size=(count, width)) + 5, y


@pytest.mark.parametrize(("count", "width"), [(40, 100), (100, 12)])
@pytest.mark.parametrize("penalty", [1e-1, 1e-3])
def test_is_sklearns_multinomial_regression(count: int, width: int, penalty: float) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = drawn(count, width, 3, apart=0.4)
    centred = x - x.mean(axis=0)
    centred /= np.sqrt((centred**2).sum(axis=1).mean())
    theirs = linear_model.LogisticRegression(C=1 / (penalty * count), tol=1e-10, max_iter=10_000).fit(centred, y)
    ours = fit_head(x, np.eye(3)[y], penalty=penalty)
    np.testing.assert_allclose(softmax(ours.logits(x), axis=1), theirs.predict_proba(centred), atol=2e-4)


def test_soft_targets_and_class_weights_count_as_copies() -> None:
    x, y = drawn(30, 5, 2, apart=1.0)
    target = np.eye(2)[y]
    weighted = fit_head(x, target, weight_C=np.array([1.0, 3.0]), penalty=0.01)
    # a class of weight 3 is the same as its pictures thrice; scale and centre are kept by repeating all of them
    rows = np.repeat(np.arange(30), 3)
    copies = np.where(y[rows] == 1, 1.0, np.arange(90) % 3 == 0)[:, None] * target[rows] * 3
    repeated = fit_head(x[rows], copies, penalty=0.01)
    np.testing.assert_allclose(weighted.weight_CF, repeated.weight_CF, rtol=1e-3, atol=1e-4)


def test_several_labels_are_one_regression_each() -> None:
    x, y = drawn(60, 8, 4, apart=1.0)
    target = np.stack([y < 2, y % 2 == 0], axis=1).astype(float)
    both = fit_head(x, target, multi_label=True, penalty=0.01)
    alone = fit_head(x, target[:, 1:], multi_label=True, penalty=0.01)
    np.testing.assert_allclose(both.weight_CF[1], alone.weight_CF[0], atol=1e-3)


def test_the_penalty_follows_the_noise() -> None:
    x, y = drawn(60, 20, 2, apart=2.0)
    noise = np.random.default_rng(1).integers(0, 2, 60)
    clear, none = fit_head(x, np.eye(2)[y]), fit_head(x, np.eye(2)[noise])
    assert clear.penalty < none.penalty
    assert clear.log_loss < 0.2
    assert none.log_loss == pytest.approx(np.log(2), abs=0.1)
    assert {clear.penalty, none.penalty} <= set(PENALTIES)


@pytest.mark.parametrize("target", [np.eye(2)[[0, 1]], np.eye(2)[[0]], np.eye(3)[[1, 1, 1]], np.eye(2)[[0, 0, 0, 1]]])
def test_very_few_pictures_still_give_a_finite_head(target: Any) -> None:
    x = np.random.default_rng(0).normal(size=(len(target), 10))
    head = fit_head(x, target)
    assert np.isfinite(head.weight_CF).all()
    assert np.isfinite(head.bias_C).all()


def test_constant_features_give_the_shares() -> None:
    head = fit_head(np.ones((8, 4)), np.eye(2)[[0, 0, 0, 0, 0, 0, 1, 1]], penalty=0.01)
    np.testing.assert_allclose(softmax(head.logits(np.ones((1, 4))), axis=1)[0], [0.75, 0.25], atol=1e-3)


def test_the_same_seed_gives_the_same_head() -> None:
    x, y = drawn(30, 50, 3, apart=0.5)
    first, second = fit_head(x, np.eye(3)[y], seed=3), fit_head(x, np.eye(3)[y], seed=3)
    assert np.array_equal(first.weight_CF, second.weight_CF)


# ---- inner folds ----------------------------------------------------------------------------------


def test_groups_stay_whole_and_classes_spread() -> None:
    y = np.arange(60) % 3
    groups = [f"g{n // 6}" for n in range(60)]
    folds = inner_folds(np.eye(3)[y], groups, multi_label=False, folds=5, seed=0)
    assert sorted(np.bincount(folds)) == [12] * 5
    assert all(len({int(folds[n]) for n in range(60) if groups[n] == group}) == 1 for group in groups)
    counts = np.stack([np.bincount(y[folds == k], minlength=3) for k in range(5)])
    assert (counts == 4).all()


def test_fewer_groups_than_folds_and_a_single_one() -> None:
    target = np.eye(2)[[0, 1, 0, 1]]
    assert set(inner_folds(target, ["a", "a", "b", "b"], multi_label=False, folds=5, seed=0)) == {0, 1}
    assert set(inner_folds(target, ["a"] * 4, multi_label=False, folds=5, seed=0)) == {0}


def test_pictures_without_a_group_stand_alone() -> None:
    target = np.eye(2)[np.arange(20) % 2]
    folds = inner_folds(target, ["", *["pair"] * 2, *[""] * 17], multi_label=False, folds=5, seed=0)
    assert sorted(np.bincount(folds)) == [4] * 5
    assert folds[1] == folds[2]
