"""Predictions and truths picture by picture → scores; keeps numbers, never pictures or masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from espalier.blocks import Figure, Table
from espalier.tasks.base import Sample, Scores
from espalier.tasks.detection import metrics as boxed
from espalier.tasks.detection.confidence import mean_of_classes
from espalier.tasks.detection.figures import PRECISIONS, Kept
from espalier.tasks.detection.report import Cell
from espalier.tasks.instance.collected import MaskCollector, Measured
from espalier.tasks.instance.prediction import Instances

SIDES = {"boundary": "rims", "box": "boxes"}
"""How a side figure's key begins, and whose overlap it is."""
AFTER = 2  # the table comes below the headline and the classes


class InstanceMetrics:
    """COCO's figures by the overlap of masks; beside them AP by that of boundaries and of boxes. Intervals resample
    pictures or their groups; pictures without an object count too."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._collector = MaskCollector(classes)

    def update(self, predictions: Sequence[Instances], samples: Sequence[Sample]) -> None:
        """Adds predictions and their samples, in the same order. Raises ValueError for a class that there is not."""
        for prediction, sample in zip(predictions, samples, strict=True):
            self._collector.add(prediction, sample)

    def compute(self, *, bootstrap: int = 0, seed: int = 0) -> Scores:
        """The figures; `bootstrap` resamples of the pictures give the intervals. Raises DataError without an object."""
        measured = self._collector.measured()
        found = boxed.scores(measured.masks, bootstrap=bootstrap, seed=seed)
        sides = {key: Side.of(getattr(measured, name), bootstrap=bootstrap, seed=seed) for key, name in SIDES.items()}
        own = Side.of(measured.masks, bootstrap=bootstrap, seed=seed)
        return replace(
            found,
            figures={**found.figures, **_figures(sides)},
            blocks=[*found.blocks[:AFTER], table({"mask": own, **sides}), *found.blocks[AFTER:]],
            per_item={**found.per_item, **_kept(measured)},
        )


def _kept(measured: Measured) -> dict[str, Kept]:
    return {key: getattr(measured, name) for key, name in SIDES.items()}


def side_words(key: str) -> dict[str, str]:
    """The names of a side's figures: AP over all overlaps, at 0.50 and at 0.75."""
    return dict(zip(PRECISIONS, (f"{key} AP", f"{key} AP at overlap 0.50", f"{key} AP at overlap 0.75"), strict=True))


@dataclass(frozen=True)
class Side:
    """AP by one kind of overlap, in the order of `PRECISIONS`; NaN where there is no object."""

    kept: Kept
    now: NDArray[np.float64]  # (3, 1 + C): of all classes, then of each
    drawn: NDArray[np.float64] | None  # (3, 1 + C, B)

    @staticmethod
    def of(kept: Kept, *, bootstrap: int, seed: int) -> Side:
        """With `bootstrap` resamples."""
        now = _with_mean(kept, kept.columns.pictures.weight_N[:, None])[:, :, 0]
        if not bootstrap:
            return Side(kept, now, None)
        chunks = kept.weights(n=bootstrap, seed=seed, width=kept.headline.width)
        return Side(kept, now, np.concatenate([_with_mean(kept, weights_NB) for weights_NB in chunks], axis=-1))

    def figure(self, name: str, precision: int, column: int) -> Figure | None:
        """None where there is no object."""
        value = float(self.now[precision, column])
        if not np.isfinite(value):
            return None
        if self.drawn is None:
            return Figure(name, value, unit="%")
        between = boxed.share(self.drawn[precision, column], value, self.kept.columns.pictures)
        return between.figure(name, value, "%")


def _with_mean(kept: Kept, weights_NB: NDArray[np.float64]) -> NDArray[np.float64]:
    each = kept.class_precisions(weights_NB)
    return np.concatenate([np.stack([mean_of_classes(ap_CB)[None] for ap_CB in each]), each], axis=1)


def _figures(sides: dict[str, Side]) -> dict[str, Figure]:
    found = {
        f"{key}_{precision}": side.figure(word, row, 0)
        for key, side in sides.items()
        for row, (precision, word) in enumerate(side_words(key).items())
    }
    return {key: figure for key, figure in found.items() if figure is not None}


def table(sides: dict[str, Side]) -> Table:
    """AP of each class by what overlaps."""
    classes = next(iter(sides.values())).kept.columns.classes
    names = ["all", *classes] if len(classes) > 1 else list(classes)
    first = 0 if len(classes) > 1 else 1
    rows: list[list[Cell]] = [
        [name, *(side.figure(f"{key} AP", at, first + n) for key, side in sides.items() for at in (0, 1))]
        for n, name in enumerate(names)
    ]
    columns = ["class", *(word for key in sides for word in (f"{key} AP", f"{key} AP at 0.50"))]
    note = (
        "boundary: only the pixels within 2 % of the picture's diagonal of the outline count (Boundary IoU, Cheng et "
        "al. 2021), which large objects with a poor outline fail; box: the boxes alone"
    )
    return Table("By masks, their boundaries and boxes", columns, rows, note)
