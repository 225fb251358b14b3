"""Which pictures are worth a look: detection's mistakes, by the overlap of masks."""

from __future__ import annotations

from collections.abc import Sequence

from espalier.tasks.base import Mistake, Sample
from espalier.tasks.detection import mistakes as boxed
from espalier.tasks.instance.collected import MaskCollector
from espalier.tasks.instance.prediction import Instances


def mistakes(predictions: Sequence[Instances], samples: Sequence[Sample], classes: Sequence[str]) -> list[Mistake]:
    """'wrong class', 'missed', 'false alarm', 'poor location': at each prediction's own threshold."""
    collector = MaskCollector(classes)
    for prediction, sample in zip(predictions, samples, strict=True):
        collector.add(prediction.said, sample)
    return boxed.mistakes(collector.measured().masks, samples)
