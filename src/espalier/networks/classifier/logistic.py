"""Logistic regression with an L2 penalty, exact and quick when there are few pictures and many features. No torch.

Multinomial for one label a picture, one binary regression a class for several. Features are centred and scaled by one
number, so that the penalty means the same for every encoder; the head that comes back is for the features as given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, log_softmax

from espalier.networks.classifier.lbfgs import minimise
from espalier.tasks.intervals import units

Array = NDArray[np.float64]

PENALTIES = tuple(float(p) for p in np.logspace(1, -6, 8))
"""Strong to weak, for features of mean squared norm 1; sklearn's C is 1 / (penalty * pictures)."""
UNSURE_PENALTY = 1e-2
"""Taken when the pictures are too few to ask a cross-validation."""
PATIENCE = 2


@dataclass(frozen=True)
class _Effort:
    """When the minimiser stops (`lbfgs.minimise`)."""

    steps: int
    gradient: float
    decrease: float


_EXACTLY = _Effort(steps=2000, gradient=1e-7, decrease=1e-13)
_ROUGHLY = _Effort(steps=60, gradient=1e-5, decrease=1e-7)


@dataclass(frozen=True)
class LinearHead:
    """logits = features @ weight_CF.T + bias_C. `log_loss` is the inner cross-validation's, NaN when there was none."""

    weight_CF: NDArray[np.float32]
    bias_C: NDArray[np.float32]
    penalty: float
    log_loss: float

    def logits(self, features_NF: NDArray[Any]) -> NDArray[np.float32]:
        """Raw scores (N, C)."""
        return np.asarray(features_NF, np.float32) @ self.weight_CF.T + self.bias_C


def fit_head(
    features_NF: NDArray[Any],
    target_NC: NDArray[Any],
    *,
    multi_label: bool = False,
    weight_C: NDArray[Any] | None = None,
    groups: Sequence[str] = (),
    seed: int = 0,
    folds: int = 5,
    penalty: float | None = None,
) -> LinearHead:
    """The head that minimises the penalised loss; the penalty is the one with the least held-out log loss.

    `groups` (one a picture, '' for none) never fall on both sides of the inner split. `weight_C` weights the classes
    (with `multi_label`, the positives). A given `penalty` skips the inner cross-validation.
    """
    space = _Space.of(np.asarray(features_NF, np.float64))
    problem = _Problem(space.reduced_NR, np.asarray(target_NC, np.float64), multi_label, weight_C)
    log_loss = float("nan")
    if penalty is None:
        fold_N = inner_folds(target_NC, groups, multi_label=multi_label, folds=folds, seed=seed)
        penalty, log_loss = _choose(problem, fold_N)
    weight_RC, bias_C = problem.solve(penalty)
    return space.head(weight_RC, bias_C, penalty, log_loss)


@dataclass(frozen=True)
class _Space:
    """Features, centred, scaled to mean squared norm 1, and turned so that no more axes are left than pictures.

    The penalty doesn't notice a rotation and the optimum lies in the span of the pictures, so nothing is lost.
    """

    centre_F: Array
    scale: float
    turn_FR: Array | None
    reduced_NR: Array

    @staticmethod
    def of(features_NF: Array) -> _Space:
        centre_F = features_NF.mean(axis=0)
        centred = features_NF - centre_F
        scale = float(np.sqrt((centred**2).sum(axis=1).mean())) or 1.0
        centred /= scale
        if len(centred) >= centred.shape[1]:
            return _Space(centre_F, scale, None, centred)
        left_NR, singular_R, right_RF = np.linalg.svd(centred, full_matrices=False)
        return _Space(centre_F, scale, right_RF.T, left_NR * singular_R)

    def head(self, weight_RC: Array, bias_C: Array, penalty: float, log_loss: float) -> LinearHead:
        weight_FC = weight_RC if self.turn_FR is None else self.turn_FR @ weight_RC
        weight_CF = (weight_FC / self.scale).T
        bias_C = bias_C - weight_CF @ self.centre_F
        return LinearHead(weight_CF.astype(np.float32), bias_C.astype(np.float32), penalty, log_loss)


@dataclass(frozen=True)
class _Problem:
    """Features x (N, R) and targets t (N, C): the loss to minimise and how to."""

    x_NR: Array
    t_NC: Array
    multi_label: bool
    weight_C: NDArray[Any] | None

    def rows(self, chosen: NDArray[Any]) -> _Problem:
        return _Problem(self.x_NR[chosen], self.t_NC[chosen], self.multi_label, self.weight_C)

    def losses(self, weight_RC: Array, bias_C: Array) -> tuple[Array, Array]:
        """Each picture's loss (N,), and its gradient by the logits (N, C); class weights included."""
        z_NC = self.x_NR @ weight_RC + bias_C
        w_C = np.ones(z_NC.shape[1]) if self.weight_C is None else np.asarray(self.weight_C, np.float64)
        if self.multi_label:
            log_p, log_q = log_expit(z_NC), log_expit(-z_NC)
            loss_NC = -(w_C * self.t_NC * log_p + (1 - self.t_NC) * log_q)
            gradient = (1 - self.t_NC) * np.exp(log_p) - w_C * self.t_NC * np.exp(log_q)
            return loss_NC.sum(axis=1), gradient
        log_p = log_softmax(z_NC, axis=1)
        weighted_NC = self.t_NC * w_C
        gradient = np.exp(log_p) * weighted_NC.sum(axis=1, keepdims=True) - weighted_NC
        return -(weighted_NC * log_p).sum(axis=1), gradient

    def solve(
        self, penalty: float, start: tuple[Array, Array] | None = None, *, roughly: bool = False
    ) -> tuple[Array, Array]:
        """The minimiser of mean loss + penalty / 2 * ||weights||²; the bias is free. `roughly`: to compare."""
        count, width, classes = len(self.x_NR), self.x_NR.shape[1], self.t_NC.shape[1]

        def objective(flat: Array) -> tuple[float, Array]:
            both = flat.reshape(width + 1, classes)
            weight_RC, bias_C = both[:-1], both[-1]
            loss_N, by_z_NC = self.losses(weight_RC, bias_C)
            by_weight = self.x_NR.T @ by_z_NC / count + penalty * weight_RC
            value = loss_N.mean() + penalty / 2 * (weight_RC**2).sum()
            return float(value), np.concatenate([by_weight, by_z_NC.mean(axis=0)[None]]).ravel()

        first = np.zeros((width + 1) * classes) if start is None else np.concatenate([start[0], start[1][None]]).ravel()
        effort = _ROUGHLY if roughly else _EXACTLY
        found = minimise(objective, first, steps=effort.steps, gradient=effort.gradient, decrease=effort.decrease)
        both = found.reshape(width + 1, classes)
        return both[:-1], both[-1]


def inner_folds(
    target_NC: NDArray[Any], groups: Sequence[str], *, multi_label: bool, folds: int, seed: int
) -> NDArray[np.int64]:
    """The fold of each picture (N,): groups whole, classes spread evenly; all 0 when there is nothing to divide."""
    count = len(target_NC)
    group_N = units(groups, count)
    size = int(group_N.max()) + 1
    classes_G = np.zeros((size, np.shape(target_NC)[1]))
    np.add.at(classes_G, group_N, np.asarray(target_NC, np.float64))
    folds = min(folds, size)
    if folds < 2:
        return np.zeros(count, np.int64)
    return _spread(classes_G, folds, np.random.default_rng(seed))[group_N]


def _spread(classes_GC: Array, folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Largest groups first, each to the fold that has least of its classes (then least of all)."""
    held_KC = np.zeros((folds, classes_GC.shape[1]))
    fold_G = np.zeros(len(classes_GC), np.int64)
    order = rng.permutation(len(classes_GC))
    for group in order[np.argsort(-classes_GC[order].sum(axis=1), kind="stable")]:
        own_C = classes_GC[group]
        fold = np.lexsort((held_KC.sum(axis=1), held_KC @ own_C))[0]
        fold_G[group] = fold
        held_KC[fold] += own_C + 1e-9
    return fold_G


def _choose(problem: _Problem, fold_N: NDArray[np.int64]) -> tuple[float, float]:
    """The penalty of the least held-out log loss, and that loss; walked from strong to weak until it only rises."""
    parts = [(problem.rows(fold_N != k), problem.rows(fold_N == k)) for k in np.unique(fold_N)]
    parts = [(train, held) for train, held in parts if len(train.x_NR) and _answerable(train, held).any()]
    if not parts:
        return UNSURE_PENALTY, float("nan")
    starts: list[tuple[Array, Array] | None] = [None] * len(parts)
    best, best_loss, worse = UNSURE_PENALTY, float("inf"), 0
    for penalty in PENALTIES:
        starts = [train.solve(penalty, start, roughly=True) for (train, _), start in zip(parts, starts)]
        loss = _held_out_loss(parts, starts)
        best, best_loss, worse = (penalty, loss, 0) if loss < best_loss else (best, best_loss, worse + 1)
        if worse == PATIENCE:
            break
    return best, best_loss


def _answerable(train: _Problem, held: _Problem) -> NDArray[np.bool_]:
    """Held-out pictures whose classes all occur among the training pictures; the others say nothing of the penalty."""
    seen_C = train.t_NC.sum(axis=0) > 0
    return np.asarray((held.t_NC * ~seen_C).sum(axis=1) == 0)


def _held_out_loss(parts: Sequence[tuple[_Problem, _Problem]], heads: Sequence[Any]) -> float:
    losses = [held.losses(*head)[0][_answerable(train, held)] for (train, held), head in zip(parts, heads)]
    return float(np.concatenate(losses).mean())
