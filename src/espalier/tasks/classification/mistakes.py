"""Which pictures are worth a look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espalier.tasks.base import Mistake, Sample
from espalier.tasks.classification.prediction import Classification


def mistakes(predictions: Sequence[Classification], samples: Sequence[Sample], classes: Sequence[str]) -> list[Mistake]:
    """'most confident': wrong answers, surest first; 'worst': pictures whose truth got the lowest score, right or not.

    Pictures without a label are left out, unless the model gives several labels. Within a kind the first rank highest.
    """
    found: list[Mistake] = []
    for i, (prediction, sample) in enumerate(zip(predictions, samples, strict=True)):
        ids = sample.target.class_ids
        if not ids and not prediction.multi_label:
            continue
        caption = f"{', '.join(classes[c] for c in ids) or 'none'}; said {prediction.label(classes)}"
        wrong = tuple(prediction.class_ids) != tuple(ids)
        if wrong:
            found.append(Mistake(i, "most confident", _sureness(prediction, ids), caption))
        found.append(Mistake(i, "worst", 1.0 - _lowest_true(prediction, ids), caption, wrong))
    return sorted(found, key=lambda m: (m.kind, -m.rank, m.index))


def _sureness(prediction: Classification, ids: tuple[int, ...]) -> float:
    """How sure the most wrong part of the answer is, 0 to 1."""
    if not prediction.multi_label:
        return prediction.score
    return 1.0 - _lowest_true(prediction, ids)


def _lowest_true(prediction: Classification, ids: tuple[int, ...]) -> float:
    """The lowest score that a true statement got: of the true class, or with several labels of each yes and no."""
    if not prediction.multi_label:
        return float(prediction.score_C[ids[0]])
    truth_C = np.zeros(len(prediction.score_C), np.bool_)
    truth_C[list(ids)] = True
    return float(np.where(truth_C, prediction.score_C, 1.0 - prediction.score_C).min())
