"""Which pictures are worth a look, by what is said of them at the model's own threshold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from espalier.tasks.base import Mistake, Sample
from espalier.tasks.detection.budget import BARE, CLASS, LOCATION, Errors
from espalier.tasks.detection.collected import Collector, Columns
from espalier.tasks.detection.figures import Kept
from espalier.tasks.detection.prediction import Detections
from espalier.tasks.detection.sample import truth_words

Caption = Callable[[Kept, int, int], str]
"""(what was matched, box, the object that its error is about) → what is said below the picture."""

KINDS = ("wrong class", "missed", "false alarm", "poor location")


def of_what_is_said(predictions: Sequence[Detections], samples: Sequence[Sample], classes: Sequence[str]) -> Kept:
    """The matches of the boxes that are said alone."""
    collector = Collector(classes)
    for prediction, sample in zip(predictions, samples, strict=True):
        collector.add(prediction.said, sample)
    return Kept.by_boxes(collector.columns())


def mistakes(kept: Kept, samples: Sequence[Sample]) -> list[Mistake]:
    """By kind; within a kind the pictures with the surest wrong box, or with the most objects missed, rank highest.

    `kept` are the matches of what is said alone.
    """
    found = [
        *_boxes(kept, CLASS, "wrong class", _called),
        *_missed(kept.columns, kept.errors, samples),
        *_boxes(kept, BARE, "false alarm", _alarm),
        *_boxes(kept, LOCATION, "poor location", _placed),
    ]
    return sorted(found, key=lambda m: (KINDS.index(m.kind), -m.rank, m.index))


def _boxes(kept: Kept, kind: int, name: str, caption: Caption) -> list[Mistake]:
    """The surest box of that kind of each picture."""
    columns, wrong = kept.columns, kept.errors
    rows = np.flatnonzero(wrong.kind == kind)
    rows = rows[np.argsort(-columns.found.score[rows], kind="stable")]
    first = rows[np.unique(columns.found.picture[rows], return_index=True)[1]]
    found = columns.found
    return [
        Mistake(int(found.picture[d]), name, float(found.score[d]), caption(kept, int(d), int(wrong.about[d])))
        for d in first
    ]


def _sure(columns: Columns, row: int) -> str:
    return f"{columns.classes[columns.found.class_id[row]]} {100 * columns.found.score[row]:.0f} %"


def _called(kept: Kept, row: int, about: int) -> str:
    columns = kept.columns
    return f"{columns.classes[columns.objects.class_id[about]]}; said {_sure(columns, row)}"


def _alarm(kept: Kept, row: int, about: int) -> str:
    return f"nothing there; said {_sure(kept.columns, row)}"


def _placed(kept: Kept, row: int, about: int) -> str:
    pairs = kept.same_picture
    overlap = pairs.iou[(pairs.found == row) & (pairs.object == about)][0]
    return f"{_sure(kept.columns, row)}, overlaps by {100 * overlap:.0f} %"


def _missed(columns: Columns, wrong: Errors, samples: Sequence[Sample]) -> list[Mistake]:
    counts = np.bincount(columns.objects.picture[wrong.missed], minlength=len(samples))
    return [
        Mistake(i, "missed", float(counts[i]), f"{counts[i]} missed of {_truth(columns, samples[i])}")
        for i in np.flatnonzero(counts).tolist()
    ]


def _truth(columns: Columns, sample: Sample) -> str:
    return truth_words(sample.target, columns.classes)
