"""Predictions and truths picture by picture → scores; keeps numbers, never pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from espalier.blocks import Figure
from espalier.errors import DataError, Problem
from espalier.tasks import intervals
from espalier.tasks.base import Sample, Scores
from espalier.tasks.collected import FEW_OTHERS, Interval, Pictures, percentile
from espalier.tasks.detection import report
from espalier.tasks.detection.collected import MOST, Collector
from espalier.tasks.detection.confidence import ALL
from espalier.tasks.detection.figures import KEYS, Drawn, Kept
from espalier.tasks.detection.prediction import Detections


class DetectionMetrics:
    """COCO's figures, with intervals that resample pictures or their groups. Pictures without an object count too."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._collector = Collector(classes)

    def update(self, predictions: Sequence[Detections], samples: Sequence[Sample]) -> None:
        """Adds predictions and their samples, in the same order. Raises ValueError for a class that there is not."""
        for prediction, sample in zip(predictions, samples, strict=True):
            self._collector.add(prediction, sample)

    def compute(self, *, bootstrap: int = 0, seed: int = 0) -> Scores:
        """The figures; `bootstrap` resamples of the pictures give the intervals. Raises DataError without an object."""
        kept = Kept.by_boxes(self._collector.columns())
        return scores(kept, bootstrap=bootstrap, seed=seed)


def scores(kept: Kept, *, bootstrap: int, seed: int) -> Scores:
    """All figures with their intervals, and what a report shows. Raises DataError without an object."""
    if not kept.matches.counted[:, ALL].any():
        fix = f"give pictures with {kept.noun.many}"
        raise DataError(Problem("", "there is no labelled object to score", fix=fix))
    now = kept.now()
    drawn = kept.resampled(n=bootstrap, seed=seed) if bootstrap else None
    pictures = kept.columns.pictures
    found = figures(kept, now, drawn)
    threshold = threshold_of(now, drawn)
    return Scores(
        main="map",
        higher_is_better=True,
        figures=found,
        n=pictures.count,
        blocks=report.blocks(report.Shown(kept, now, drawn, found, threshold, bootstrap)),
        per_item={"kept": kept, "group": list(pictures.groups)},
        names=pictures.names,
        suggested={} if threshold is None else {"threshold": threshold},
        spoken=SPOKEN,
        cautions=_cautions(kept),
    )


SPOKEN = ("ap50", "precision", "recall")


def _cautions(kept: Kept) -> tuple[str, ...]:
    """Says where COCO counts fewer boxes than there are objects."""
    fullest = kept.rankings.positives[ALL].max(axis=0).toarray()
    full, noun = int((fullest > MOST).sum()), kept.noun.many
    if not full:
        return ()
    return (
        f"{full} of {fullest.size} pictures have more than {MOST} objects of a class, and COCO's figures count the "
        f"{MOST} surest {noun} of each in a picture: recall and AP stay low there, however good the model is",
    )


def figures(kept: Kept, now: Drawn, drawn: Drawn | None) -> dict[str, Figure]:
    """By key; without those that these pictures say nothing of, such as the AP of small objects where none is small."""
    found, words, pictures = {}, kept.noun.words(), kept.columns.pictures
    for row, key in enumerate(KEYS):
        value = float(now.figures[row, 0])
        if np.isfinite(value):
            between = Interval() if drawn is None else share(drawn.figures[row], value, pictures)
            found[key] = between.figure(words[key], value, "%")
    return found


def share(values_B: NDArray[np.float64], value: float, pictures: Pictures) -> Interval:
    """The bootstrap's interval of a figure from 0 to 1; near its ends widened to that of a share of the pictures."""
    low, high = (float(end) for end in intervals.moved(values_B, value))
    if not np.isfinite([low, high]).all():
        return Interval()
    units = pictures.unit_count
    if high - low > 1e-9 and FEW_OTHERS <= value * units <= units - FEW_OTHERS:
        return Interval(max(0.0, low), min(1.0, high))
    note = f"widened to Wilson's interval over {units} {pictures.unit_word}: a bootstrap is too narrow here"
    least, most = intervals.wilson(value * units, units)
    return Interval(max(0.0, min(low, least)), min(1.0, max(high, most)), note)


def threshold_of(now: Drawn, drawn: Drawn | None) -> Figure | None:
    """The confidence of the best mean F1 over the classes; None where nothing right was found."""
    if not np.nanmax(now.f1[:, 0], initial=0.0) > 0:
        return None
    between = Interval() if drawn is None else percentile(drawn.threshold)
    note = f"the mean F1 is highest there: {100 * float(np.nanmax(now.f1[:, 0])):.1f} %"
    value = float(now.threshold[0])
    low, high = (v if v is None else fit(v, value) for v, fit in ((between.low, min), (between.high, max)))
    return Figure("suggested threshold", value, low, high, note=note)
