"""Which pictures are worth a look, and what is mixed up in each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.base import Mistake, Sample
from espalier.tasks.segmentation import counts
from espalier.tasks.segmentation.prediction import SegmentMap

KINDS = ("most pixels wrong", "least overlap")


def mistakes(predictions: Sequence[SegmentMap], samples: Sequence[Sample], classes: Sequence[str]) -> list[Mistake]:
    """'most pixels wrong' and 'least overlap', by what is known of each picture; captions name the worst mix-up."""
    found: list[Mistake] = []
    size = len(classes)
    count = counts.Counter(size)
    for index, (prediction, sample) in enumerate(zip(predictions, samples, strict=True)):
        truth_HW = sample.target.class_map(prediction.size_hw, where=sample.name)
        confusion_TP = count(prediction.class_HW, truth_HW)[: size * size].reshape(size, size)
        found += _of_one(index, confusion_TP, classes)
    return sorted(found, key=lambda m: (KINDS.index(m.kind), -m.rank, m.index))


def _of_one(index: int, confusion_TP: NDArray[np.int64], classes: Sequence[str]) -> list[Mistake]:
    known, right = int(confusion_TP.sum()), int(np.trace(confusion_TP))
    if known == right:
        return []
    wrong = 1 - right / known
    miou = mean_iou(confusion_TP)
    mixed = _most_mixed(confusion_TP, classes)
    return [
        Mistake(index, KINDS[0], wrong, f"{100 * wrong:.1f} % of pixels wrong; {mixed}"),
        Mistake(index, KINDS[1], 1 - miou, f"mIoU {100 * miou:.1f} %; {mixed}"),
    ]


def mean_iou(confusion_TP: NDArray[np.int64]) -> float:
    """Of the classes that are there or said."""
    both_C = np.diagonal(confusion_TP)
    union_C = confusion_TP.sum(axis=0) + confusion_TP.sum(axis=1) - both_C
    return float((both_C[union_C > 0] / union_C[union_C > 0]).mean())


def _most_mixed(confusion_TP: NDArray[np.int64], classes: Sequence[str]) -> str:
    wrong_TP = confusion_TP * (1 - np.eye(len(classes), dtype=np.int64))
    truth, said = divmod(int(wrong_TP.argmax()), len(classes))
    share = wrong_TP[truth, said] / confusion_TP.sum()
    return f"{classes[truth]} said to be {classes[said]}: {100 * share:.1f} %"
