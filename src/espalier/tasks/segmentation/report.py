"""What is shown of a segmenter's scores: the headline, the classes, and which of them it mixes up."""

from __future__ import annotations

import numpy as np

from espalier.blocks import Block, Figure, Headline, Matrix, Table
from espalier.tasks import intervals
from espalier.tasks.base import Scores
from espalier.tasks.segmentation.figures import (
    KEYS,
    PER_CLASS,
    SUMS,
    TRUTH,
    Kept,
    class_figures,
    confused,
    with_intervals,
)  # fmt: skip

MATRIX_CLASSES = 60
PAIRS = 20
SPOKEN = ("boundary_iou", "pixel_accuracy")


def scores(kept: Kept, *, bootstrap: int, seed: int) -> Scores:
    """All figures with their intervals, and the blocks of a report."""
    found = with_intervals(kept, bootstrap=bootstrap, seed=seed)
    return Scores(
        main=KEYS[0],
        higher_is_better=True,
        figures=found,
        n=kept.pictures.count,
        blocks=_blocks(kept, found, bootstrap=bootstrap, seed=seed),
        per_item={"kept": kept, "group": list(kept.pictures.groups), "unit": kept.pictures.unit_N},
        names=kept.pictures.names,
        spoken=SPOKEN,
    )


def _blocks(kept: Kept, found: dict[str, Figure], *, bootstrap: int, seed: int) -> list[Block]:
    pictures = kept.pictures
    pixels = kept.known.sum()
    note = f"{pictures.count} pictures, {pixels:,.0f} labelled pixels"
    if bootstrap:
        note += f"; 95 % intervals from {bootstrap} resamples of the {pictures.unit_word}"
    return [
        Headline("How good it is", [found[key] for key in KEYS], note),
        class_table(kept, bootstrap=bootstrap, seed=seed),
        _confusion(kept),
    ]


def class_table(kept: Kept, *, bootstrap: int, seed: int) -> Table:
    """IoU with its interval, Dice, the rims' IoU and accuracy of each class, and its share of the labelled pixels."""
    found = class_figures(kept, bootstrap=bootstrap, seed=seed)
    truth_C = np.split(intervals.totals(kept.rows)[0], SUMS)[TRUTH]
    share_C = truth_C / max(1.0, truth_C.sum())
    rows: list[list[str | float | int | Figure | None]] = [
        [name, Figure("share", float(share_C[c]), unit="%"), *(found[key][c] for key in PER_CLASS)]
        for c, name in enumerate(kept.classes)
    ]
    columns = ("class", "share of pixels", "IoU", "Dice", "boundary IoU", "accuracy")
    note = "boundary IoU looks at a rim of 2 % of the diagonal alone; a class that is neither there nor said has none"
    return Table("Classes", columns, rows, note)


def _confusion(kept: Kept) -> Block:
    """All pairs, or of many classes those that are mixed up most."""
    if len(kept.classes) <= MATRIX_CLASSES:
        counts = np.rint(kept.confusion_TP).tolist()
        return Matrix("Which classes are mixed up", kept.classes, kept.classes, counts, unit="pixels")
    rows: list[list[str | float | int | Figure | None]] = [
        [kept.classes[truth], kept.classes[said], round(pixels)] for truth, said, pixels in confused(kept, PAIRS)
    ]
    return Table(f"The {PAIRS} pairs mixed up most", ("truth", "said", "pixels"), rows)
