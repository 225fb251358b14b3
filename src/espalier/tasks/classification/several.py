"""Figures of a classifier that gives a picture any number of labels: mean average precision, F1, all labels right."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from espalier.blocks import Block, Figure, Headline, Table
from espalier.tasks import intervals
from espalier.tasks.base import Scores
from espalier.tasks.classification.single import mean_ratio
from espalier.tasks.collected import Interval, Pictures, mean_of_shares, proportion

KEYS = ("map", "micro_f1", "macro_f1", "subset_accuracy")
WORDS = {
    "map": "mean average precision (mAP)",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "subset_accuracy": "all labels right",
}


@dataclass(frozen=True)
class Several:
    """What is kept of each row, N rows."""

    pictures: Pictures
    classes: tuple[str, ...]
    truth_NC: NDArray[np.bool_]
    said_NC: NDArray[np.bool_]
    score_NC: NDArray[np.float32]

    @cached_property
    def all_right(self) -> NDArray[np.bool_]:
        """(N,) is every label right?"""
        return np.asarray((self.truth_NC == self.said_NC).all(axis=1))


def average_precision(
    score_N: NDArray[np.float32], truth_N: NDArray[np.bool_], weights_BN: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(B,) the area under precision over recall; equal scores are one step; NaN without positives."""
    order = np.argsort(-score_N, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(score_N[order]) != 0, True))
    weight = weights_BN[:, order]
    found = np.cumsum(weight * truth_N[order], axis=1)[:, ends]
    asked = np.cumsum(weight, axis=1)[:, ends]
    step = np.diff(found, axis=1, prepend=0.0)
    area = (step * found / np.maximum(asked, 1e-12)).sum(axis=1)
    return np.where(found[:, -1] > 0, area / np.maximum(found[:, -1], 1e-12), np.nan)


def figures(kept: Several, weights_BN: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B, F) the figures of `KEYS` for B weightings of the rows."""
    precision_BC = np.stack(
        [average_precision(kept.score_NC[:, c], kept.truth_NC[:, c], weights_BN) for c in range(len(kept.classes))],
        axis=1,
    )
    there_BC = np.isfinite(precision_BC)
    true_BC, said_BC, both_BC = (
        weights_BN @ part.astype(np.float64) for part in (kept.truth_NC, kept.said_NC, kept.truth_NC & kept.said_NC)
    )
    both_B, marks_B = both_BC.sum(axis=1), (true_BC + said_BC).sum(axis=1)
    return np.stack(
        [
            mean_ratio(np.where(there_BC, precision_BC, 0.0), there_BC.astype(np.float64)),
            np.where(marks_B > 0, 2 * both_B / np.maximum(marks_B, 1e-12), np.nan),
            mean_ratio(2 * both_BC, true_BC + said_BC),
            weights_BN @ kept.all_right.astype(np.float64) / np.maximum(weights_BN.sum(axis=1), 1e-12),
        ],
        axis=1,
    )


def resampled(kept: Several, *, n: int, seed: int) -> NDArray[np.float64]:
    """(n, F) the figures of `n` resamples of the units."""
    pictures, width = kept.pictures, 4 * len(kept.pictures.names)
    chunks = intervals.weights(pictures.unit_count, n=n, seed=seed, width=width)
    return np.concatenate([figures(kept, weights[:, pictures.unit_N] * pictures.weight_N) for weights in chunks])


def scores(kept: Several, *, bootstrap: int, seed: int) -> Scores:
    """All figures with their intervals, and what a report shows."""
    values = figures(kept, kept.pictures.weight_N[None])[0]
    between = _intervals(kept, values, bootstrap=bootstrap, seed=seed) if bootstrap else [Interval()] * len(KEYS)
    found = {key: between[i].figure(WORDS[key], float(values[i]), "%") for i, key in enumerate(KEYS)}
    return Scores(
        main="map",
        higher_is_better=True,
        figures=found,
        n=kept.pictures.count,
        blocks=_blocks(kept, found, bootstrap),
        per_item=_per_item(kept),
        names=kept.pictures.names,
    )


def _intervals(kept: Several, values: NDArray[np.float64], *, bootstrap: int, seed: int) -> list[Interval]:
    drawn_BF = resampled(kept, n=bootstrap, seed=seed)
    weight_N = kept.pictures.weight_N
    true_C = weight_N @ kept.truth_NC.astype(np.float64)
    both_C = weight_N @ (kept.truth_NC & kept.said_NC).astype(np.float64)
    shares = [mean_of_shares(drawn_BF[:, i], values[i], list(both_C), list(true_C)) for i in range(3)]
    return [*shares, proportion(drawn_BF[:, 3], values[3], kept.pictures)]


def _per_item(kept: Several) -> dict[str, object]:
    def words(marks_C: NDArray[np.bool_]) -> str:
        return ", ".join(kept.classes[i] for i in np.flatnonzero(marks_C)) or "none"

    return {
        "right": kept.all_right,
        "confidence": np.abs(kept.score_NC - 0.5).min(axis=1) + 0.5,
        "group": list(kept.pictures.groups),
        "true_label": [words(marks) for marks in kept.truth_NC],
        "said": [words(marks) for marks in kept.said_NC],
        "kept": kept,
    }


def _blocks(kept: Several, found: dict[str, Figure], bootstrap: int) -> list[Block]:
    pictures = kept.pictures
    note = f"{pictures.count} pictures; several labels a picture"
    if bootstrap:
        note += f"; 95 % intervals from {bootstrap} resamples of the {pictures.unit_word}"
    return [Headline("How good it is", [found[key] for key in KEYS], note), _class_table(kept)]


def _class_table(kept: Several) -> Table:
    weights_BN = kept.pictures.weight_N[None]
    rows: list[list[str | float | Figure | None]] = []
    for c, name in enumerate(kept.classes):
        truth, said = kept.truth_NC[:, c], kept.said_NC[:, c]
        true, claimed, both = (float((weights_BN @ part.astype(np.float64))[0]) for part in (truth, said, truth & said))
        area = float(average_precision(kept.score_NC[:, c], truth, weights_BN)[0])
        rows.append(
            [
                name,
                round(true, 2),
                Figure("average precision", area, unit="%") if np.isfinite(area) else None,
                _share("precision", both, claimed),
                _share("recall", both, true),
                Figure("F1", 2 * both / (true + claimed), unit="%") if true + claimed > 0 else None,
            ]
        )
    columns = ["class", "pictures", "average precision", "precision", "recall", "F1"]
    return Table("Each class", columns, rows, "Wilson's 95 % intervals")


def _share(name: str, part: float, whole: float) -> Figure | None:
    if whole <= 0:
        return None
    low, high = intervals.wilson(part, whole)
    return Figure(name, part / whole, low, high, "%")
