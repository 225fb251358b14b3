"""Figures of a classifier that gives each picture one label: accuracy, F1, calibration, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from espalier.blocks import Block, Curve, Figure, Headline, Matrix, Series, Table
from espalier.tasks import intervals
from espalier.tasks.base import Scores
from espalier.tasks.collected import Interval, Pictures, centred, mean_of_shares, percentile, proportion

BINS = 15  # of confidence, equally wide (Guo et al. 2017)
TOP = 5
SMALLEST_SCORE = 1e-7  # below it float32 scores mean nothing; bounds the log loss
MATRIX_CLASSES = 60
CONFUSED_PAIRS = 20
ALL, RIGHT, IN_TOP, LOSS, BIN_SCORE = 0, 1, 2, 3, 4
BIN_RIGHT = BIN_SCORE + BINS
CLASS = BIN_RIGHT + BINS  # then C columns each: true, predicted, both
KEYS = ("accuracy", "balanced_accuracy", "macro_f1", "ece", "log_loss", "top5")
WORDS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "ece": "calibration error (ECE)",
    "log_loss": "log loss",
    "top5": "top-5 accuracy",
}
UNITS = {key: "" if key == "log_loss" else "%" for key in KEYS}


@dataclass(frozen=True)
class Single:
    """What is kept of each row, N rows."""

    pictures: Pictures
    classes: tuple[str, ...]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]  # the answer's score
    truth_score: NDArray[np.float64]  # the true class's score
    in_top: NDArray[np.bool_]  # is the truth among the five highest?

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """(N,) is the answer the truth?"""
        return np.asarray(self.predicted == self.truth)

    @cached_property
    def log_loss(self) -> NDArray[np.float64]:
        """(N,) of the truth."""
        return -np.log(np.maximum(self.truth_score, SMALLEST_SCORE))

    @cached_property
    def rows(self) -> sparse.csr_array:
        """(N, K) what each row adds to the sums that `figures` reads."""
        count, classes = len(self.truth), len(self.classes)
        bins = np.minimum((self.confidence * BINS).astype(np.int64), BINS - 1)
        at = CLASS + self.truth
        columns = [
            (np.full(count, ALL), np.ones(count)),
            (np.full(count, RIGHT), self.right),
            (np.full(count, IN_TOP), self.in_top),
            (np.full(count, LOSS), self.log_loss),
            (BIN_SCORE + bins, self.confidence),
            (BIN_RIGHT + bins, self.right),
            (at, np.ones(count)),
            (CLASS + classes + self.predicted, np.ones(count)),
            (at + 2 * classes, self.right),
        ]
        place = np.concatenate([column for column, _ in columns])
        value = np.concatenate([np.asarray(v, np.float64) * self.pictures.weight_N for _, v in columns])
        row = np.tile(np.arange(count), len(columns))
        return sparse.csr_array((value, (row, place)), shape=(count, CLASS + 3 * classes))


def per_class(sums_BK: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(B, C) each: pictures of the class, pictures said to be, and both."""
    count = (sums_BK.shape[1] - CLASS) // 3
    true_BC, predicted_BC, both_BC = (sums_BK[:, CLASS + i * count : CLASS + (i + 1) * count] for i in range(3))
    return true_BC, predicted_BC, both_BC


def figures(sums_BK: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B, F) the figures of `KEYS`. Means leave out a class that a resample has neither as truth nor as answer."""
    all_B = np.maximum(sums_BK[:, ALL], 1e-12)
    true_BC, predicted_BC, both_BC = per_class(sums_BK)
    gap_B = np.abs(sums_BK[:, BIN_SCORE:BIN_RIGHT] - sums_BK[:, BIN_RIGHT:CLASS]).sum(axis=1)
    return np.stack(
        [
            sums_BK[:, RIGHT] / all_B,
            mean_ratio(both_BC, true_BC),
            mean_ratio(2 * both_BC, true_BC + predicted_BC),
            gap_B / all_B,
            sums_BK[:, LOSS] / all_B,
            sums_BK[:, IN_TOP] / all_B,
        ],
        axis=1,
    )


def mean_ratio(part_BC: NDArray[np.float64], whole_BC: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B,) mean over the classes whose whole is not 0; NaN where there is none."""
    there_BC = whole_BC > 1e-12
    ratio_BC = np.where(there_BC, part_BC, 0.0) / np.where(there_BC, whole_BC, 1.0)
    count_B = there_BC.sum(axis=1)
    return np.where(count_B > 0, ratio_BC.sum(axis=1) / np.maximum(count_B, 1), np.nan)


def scores(kept: Single, *, bootstrap: int, seed: int) -> Scores:
    """All figures with their intervals, and what a report shows."""
    sums = intervals.totals(kept.rows)
    found = _figures(kept, sums, bootstrap=bootstrap, seed=seed)
    return Scores(
        main="accuracy",
        higher_is_better=True,
        errors=frozenset({"ece", "log_loss"}),
        figures=found,
        n=kept.pictures.count,
        blocks=_blocks(kept, found, sums, bootstrap),
        per_item=_per_item(kept),
        names=kept.pictures.names,
    )


def _figures(kept: Single, sums: NDArray[np.float64], *, bootstrap: int, seed: int) -> dict[str, Figure]:
    values = figures(sums)[0]
    between = _intervals(kept, sums, values, bootstrap=bootstrap, seed=seed) if bootstrap else [Interval()] * len(KEYS)
    shown = KEYS if len(kept.classes) > TOP else KEYS[:-1]
    return {
        key: between[i].figure(WORDS[key], float(values[i]), UNITS[key]) for i, key in enumerate(KEYS) if key in shown
    }


def _intervals(
    kept: Single, sums: NDArray[np.float64], values: NDArray[np.float64], *, bootstrap: int, seed: int
) -> list[Interval]:
    drawn_BF = intervals.resample(kept.rows, figures, n=bootstrap, seed=seed, groups=kept.pictures.unit_N)
    true_C, _, both_C = (part[0] for part in per_class(sums))
    shares = [mean_of_shares(drawn_BF[:, i], values[i], list(both_C), list(true_C)) for i in (1, 2)]
    return [
        proportion(drawn_BF[:, 0], values[0], kept.pictures),
        *shares,
        centred(drawn_BF[:, 3], values[3]),
        percentile(drawn_BF[:, 4]),
        proportion(drawn_BF[:, 5], values[5], kept.pictures),
    ]


def _per_item(kept: Single) -> dict[str, object]:
    return {
        "truth": kept.truth,
        "predicted": kept.predicted,
        "confidence": kept.confidence,
        "right": kept.right,
        "log_loss": kept.log_loss,
        "group": list(kept.pictures.groups),
        "unit": kept.pictures.unit_N,
        "true_label": [kept.classes[i] for i in kept.truth],
        "said": [f"{kept.classes[i]} {100 * c:.0f} %" for i, c in zip(kept.predicted, kept.confidence, strict=True)],
        "rows": kept.rows,
    }


def _blocks(kept: Single, found: dict[str, Figure], sums: NDArray[np.float64], bootstrap: int) -> list[Block]:
    pictures = kept.pictures
    note = f"{pictures.count} pictures"
    if bootstrap:
        note += f"; 95 % intervals from {bootstrap} resamples of the {pictures.unit_word}"
    order = [key for key in ("accuracy", "macro_f1", "balanced_accuracy", "top5", "ece", "log_loss") if key in found]
    return [
        Headline("How good it is", [found[key] for key in order], note),
        class_table(kept.classes, sums),
        _confusion(kept),
        _reliability(kept),
    ]


def class_table(classes: Sequence[str], sums: NDArray[np.float64]) -> Table:
    """Precision, recall and F1 of each class; precision and recall with Wilson's intervals."""
    true_C, predicted_C, both_C = (part[0] for part in per_class(sums))
    rows: list[list[str | float | Figure | None]] = [
        [
            name,
            round(float(true), 2),
            _share("precision", both, said),
            _share("recall", both, true),
            _f1(both, true + said),
        ]
        for name, true, said, both in zip(classes, true_C, predicted_C, both_C, strict=True)
    ]
    return Table("Each class", ["class", "pictures", "precision", "recall", "F1"], rows, "Wilson's 95 % intervals")


def _share(name: str, part: float, whole: float) -> Figure | None:
    if whole <= 0:
        return None
    low, high = intervals.wilson(part, whole)
    return Figure(name, float(part / whole), low, high, "%")


def _f1(both: float, both_sums: float) -> Figure | None:
    return Figure("F1", float(2 * both / both_sums), unit="%") if both_sums > 0 else None


def confusion(kept: Single) -> NDArray[np.float64]:
    """(C, C) pictures by truth (rows) and answer (columns)."""
    count = len(kept.classes)
    cells = np.bincount(kept.truth * count + kept.predicted, weights=kept.pictures.weight_N, minlength=count * count)
    return cells.astype(np.float64).reshape(count, count)


def _confusion(kept: Single) -> Block:
    counts = confusion(kept)
    if len(kept.classes) <= MATRIX_CLASSES:
        note = "A picture that was scored several times counts once" if (kept.pictures.times > 1).any() else ""
        return Matrix(
            "Confusion: truth in rows, answer in columns", kept.classes, kept.classes, counts.round(2).tolist(), note
        )
    np.fill_diagonal(counts, 0)
    flat = np.argsort(counts, axis=None)[::-1][:CONFUSED_PAIRS]
    pairs = [np.unravel_index(i, counts.shape) for i in flat if counts.flat[i] > 0]
    rows: list[list[str | float]] = [
        [kept.classes[t], kept.classes[p], round(float(counts[t, p]), 2)] for t, p in pairs
    ]
    return Table("Most confused", ["truth", "answer", "pictures"], rows)


def _reliability(kept: Single) -> Curve:
    """How often it is right at each confidence; bars are Wilson's intervals."""
    weight_N = kept.pictures.weight_N
    bins = np.minimum((kept.confidence * BINS).astype(np.int64), BINS - 1)
    total, score, right = (
        np.bincount(bins, weights=weight_N * value, minlength=BINS) for value in (1.0, kept.confidence, kept.right)
    )
    there = total > 0
    x, y = score[there] / total[there], right[there] / total[there]
    low, high = np.asarray([intervals.wilson(k, n) for k, n in zip(right[there], total[there], strict=True)]).T
    return Curve(
        "Reliability: how often it is right when it is so sure",
        "confidence of the answer",
        "share that is right",
        [
            Series("this model", x.tolist(), y.tolist(), low.tolist(), high.tolist()),
            Series("perfectly calibrated", [0.0, 1.0], [0.0, 1.0], dashed=True),
        ],
        f"{BINS} equally wide bins of confidence; the band is Wilson's 95 % interval of each",
    )
