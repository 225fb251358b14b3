"""What a report shows of a detector's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier.blocks import Bars, Block, Curve, Figure, Headline, Series, Table
from espalier.tasks import intervals
from espalier.tasks.detection import confusion
from espalier.tasks.detection.budget import KINDS, MISSED, NONE, SPECIAL
from espalier.tasks.detection.confidence import ALL, LEVELS, mean_of_classes
from espalier.tasks.detection.figures import RECALL_LIMITS, STRICT, Drawn, Kept
from espalier.tasks.detection.matching import AREA_PX2, FREE, SIZES
from espalier.tasks.detection.precision import RECALLS

HEADLINE = ("map", "ap50", "ap75", "f1", "precision", "recall")
CLASS_CURVES = 6  # with more classes than this only their mean is drawn
Cell = str | float | int | Figure | None


@dataclass(frozen=True)
class Shown:
    """What the blocks are made of."""

    kept: Kept
    now: Drawn
    drawn: Drawn | None
    figures: Mapping[str, Figure]
    threshold: Figure | None
    bootstrap: int

    def cell(self, name: str, row: NDArray[np.float64], drawn: NDArray[np.float64] | None) -> Figure | None:
        """A share (row[0]) with its interval; None where there is none."""
        value = float(row[0])
        if not np.isfinite(value):
            return None
        if drawn is None or not np.isfinite(drawn).any():
            return Figure(name, value, unit="%")
        low, high = (float(end) for end in intervals.moved(drawn, value))
        return Figure(name, value, max(0.0, low), min(1.0, high), "%")


def blocks(shown: Shown) -> list[Block]:
    """Headline, classes, sizes, where it is lost, confusion, and the curves."""
    return [
        _headline(shown),
        _classes(shown),
        _sizes(shown),
        *_budget(shown),
        _confusion(shown),
        _precision(shown),
        *_confidence(shown),
    ]


def _headline(shown: Shown) -> Headline:
    pictures = shown.kept.columns.pictures
    objects = int(shown.kept.matches.counted[:, ALL].sum())
    note = f"{pictures.count} pictures with {objects} objects"
    if shown.bootstrap:
        note += f"; 95 % intervals from {shown.bootstrap} resamples of the {pictures.unit_word}"
    figures = [shown.figures[key] for key in HEADLINE if key in shown.figures]
    if shown.threshold is not None:
        figures.append(shown.threshold)
    note += "; mAP is COCO's (overlap 0.50 to 0.95); F1 and shares are those at the model's own threshold, overlap 0.50"
    return Headline("How good it is", figures, note)


def _classes(shown: Shown) -> Table:
    now, drawn = shown.now, shown.drawn
    columns: list[tuple[str, NDArray[np.float64], NDArray[np.float64] | None]] = [
        ("AP", now.ap, None if drawn is None else drawn.ap),
        ("AP at 0.50", now.ap50, None if drawn is None else drawn.ap50),
        ("precision", now.said[0], None if drawn is None else drawn.said[0]),
        ("recall", now.said[1], None if drawn is None else drawn.said[1]),
        ("F1", now.said[2], None if drawn is None else drawn.said[2]),
    ]
    weight_N = shown.kept.columns.pictures.weight_N
    counts = shown.kept.rankings.positives[ALL] @ weight_N
    rows: list[list[Cell]] = [
        [
            name,
            round(float(counts[c]), 2),
            *(shown.cell(word, value[c], None if many is None else many[c]) for word, value, many in columns),
        ]
        for c, name in enumerate(shown.kept.columns.classes)
    ]
    note = "precision, recall and F1 at the model's own threshold; classes without an object have no score"
    return Table("Each class", ["class", "objects", *(word for word, _, _ in columns)], rows, note)


def _sizes(shown: Shown) -> Table:
    weight_N, found, noun = shown.kept.columns.pictures.weight_N, shown.figures, shown.kept.noun
    rows: list[list[Cell]] = []
    for size, word in enumerate(SIZES):
        count = float((shown.kept.rankings.positives[size] @ weight_N).sum())
        keys = ("map", "ar100") if size == ALL else (f"ap_{SIZES[size]}", f"ar_{SIZES[size]}")
        rows.append([word, round(count, 2), *(found.get(key) for key in keys)])
    limits = ", ".join(f"with {m} {100 * found[f'ar{m}'].value:.1f} %" for m in RECALL_LIMITS if f"ar{m}" in found)
    note = (
        "small: up to 32² px, large: above 96² px; COCO's recall, the mean over overlaps 0.50 to 0.95, with up to 100 "
        f"{noun.many} of a class in a picture; by the number of {noun.many}: {limits}"
    )
    return Table("By size of the objects", ["size", "objects", "AP", "recall"], rows, note)


def _budget(shown: Shown) -> list[Block]:
    names = [*KINDS, *SPECIAL]
    gains = [_gain(shown, row, name) for row, name in enumerate(names)]
    counts = _counts(shown.kept)
    note = (
        "points of AP at overlap 0.50 that the model would gain if this kind of error were mended (TIDE, Bolya et al. "
        "2020: foreground from 0.5, background to 0.1); they do not add up"
    )
    bars = Bars(
        "Where the score is lost",
        names,
        [one.value for one in gains],
        None if shown.drawn is None else [float(one.low or 0.0) for one in gains],
        None if shown.drawn is None else [float(one.high or 0.0) for one in gains],
        "points",
        note,
    )
    rows: list[list[Cell]] = [
        [name, round(float(counts[row].sum()), 2), *(round(float(v), 2) for v in counts[row]), gains[row]]
        for row, name in enumerate(KINDS)
    ]
    columns = ["error", "count", *SIZES[1:], "gain in AP at 0.50"]
    noun = shown.kept.noun
    said = (
        f"over all {noun.many}, however low their score; sizes are the object's, or the {noun.one}'s where it is about "
        "none"
    )
    return [bars, Table("Errors by kind and size", columns, rows, said)]


def _gain(shown: Shown, row: int, name: str) -> Figure:
    value = float(shown.now.gains[row, 0])
    if shown.drawn is None:
        return Figure(name, value, unit="points")
    low, high = (float(end) for end in intervals.moved(shown.drawn.gains[row], value))
    return Figure(name, value, low, high, "points")


def _counts(kept: Kept) -> NDArray[np.float64]:
    """(K, 3) errors by kind and size: small, medium, large."""
    columns, wrong = kept.columns, kept.errors
    found, objects, weight_N = columns.found, columns.objects, columns.pictures.weight_N
    counts = np.zeros((len(KINDS), len(SIZES) - 1))
    rows = np.flatnonzero(wrong.kind != NONE)
    about = wrong.about[rows]
    area = np.where(about != FREE, objects.area[about], found.area[rows])
    np.add.at(counts, (wrong.kind[rows], _size(area)), weight_N[found.picture[rows]])
    missed = np.flatnonzero(wrong.missed)
    np.add.at(counts[MISSED], _size(objects.area[missed]), weight_N[objects.picture[missed]])
    return counts


def _size(area: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.searchsorted(AREA_PX2[1:-1, 1], area, side="left")


def _confusion(shown: Shown) -> Block:
    kept = shown.kept
    cells = confusion.confusion(kept.columns, kept.matches, kept.same_picture)
    note = (
        "objects at the model's own threshold and overlap 0.50; background in a row: a false alarm, in a column: missed"
    )
    return confusion.block(kept.columns.classes, cells, note)


def _precision(shown: Shown) -> Curve:
    weight_N1 = shown.kept.columns.pictures.weight_N[:, None]
    strict = mean_of_classes(shown.kept.curves(weight_N1, STRICT))[:, 0]
    half = shown.now.curve[:, 0]
    low, high = (None, None) if shown.drawn is None else _band(shown.drawn.curve, half)
    series = [
        Series("overlap 0.50", RECALLS.tolist(), half.tolist(), low, high),
        Series("overlap 0.75", RECALLS.tolist(), strict.tolist(), dashed=True),
    ]
    note = "mean over the classes; COCO's interpolation: the best precision at this recall or a higher one"
    y_label = f"share of {shown.kept.noun.many} right"
    return Curve("Precision over recall", "share of the objects that are found", y_label, series, note)


def _confidence(shown: Shown) -> list[Curve]:
    kept, levels = shown.kept, LEVELS.tolist()
    weight_N1 = kept.columns.pictures.weight_N[:, None]
    rates = [kept.confidence.rates(c, weight_N1) for c in range(len(kept.columns.classes))]
    mean_f1 = shown.now.f1[:, 0]
    low, high = (None, None) if shown.drawn is None else _band(shown.drawn.f1, mean_f1)
    series = [
        Series("F1", levels, mean_f1.tolist(), low, high),
        Series("precision", levels, mean_of_classes(np.stack([one.precision[:, 0] for one in rates])).tolist()),
        Series("recall", levels, mean_of_classes(np.stack([one.recall[:, 0] for one in rates])).tolist()),
    ]
    note = "mean over the classes, overlap 0.50"
    if shown.threshold is not None:
        note += f"; {shown.threshold.name} {shown.threshold.value:.2f}: {shown.threshold.note}"
    x_label = f"confidence from which a {kept.noun.one} is said"
    curves = [Curve("Which threshold", x_label, "share", series, note)]
    each = _each(kept.columns.classes, np.stack([one.f1[:, 0] for one in rates]))
    if 1 < len(each) <= CLASS_CURVES:
        curves.append(Curve("F1 of each class", x_label, "F1", each, "overlap 0.50"))
    return curves


def _each(classes: Sequence[str], f1_CL: NDArray[np.float64]) -> list[Series]:
    there = [c for c in range(len(classes)) if np.isfinite(f1_CL[c]).any()]
    return [Series(classes[c], LEVELS.tolist(), f1_CL[c].tolist()) for c in there]


def _band(drawn_XB: NDArray[np.float64], value_X: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    low, high = intervals.moved(drawn_XB.T, value_X)
    return np.clip(low, 0, 1).tolist(), np.clip(high, 0, 1).tolist()
