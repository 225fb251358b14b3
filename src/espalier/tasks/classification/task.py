"""The task's object: what the rest of the house calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.tasks import base, intervals
from espalier.tasks.base import Annotations, Answer, Comparison, Decoder, ExplainTarget, Mistake, Sample, Scores
from espalier.tasks.classification import compare, decoders, draw, explained, several, single
from espalier.tasks.classification import prediction as said
from espalier.tasks.classification.metrics import ClassificationMetrics
from espalier.tasks.classification.mistakes import mistakes
from espalier.tasks.classification.prediction import Classification
from espalier.tasks.classification.sample import class_vector, target
from espalier.tasks.written import SaidLabels
from espalier.vision.geometry import Geometry

OBJECT_KINDS = frozenset({"box", "polygon", "rle", "mask"})


class ClassificationTask:
    """One label a picture, or several: the network's decoder says which."""

    name = "classification"
    mixable = ("class_C",)
    ragged: tuple[str, ...] = ()
    background = False
    gives = frozenset({"label"})

    def fits(self, kinds: frozenset[str]) -> int:
        """10 for labels of whole pictures; 1 for objects: which of their classes are in the picture?"""
        if kinds & OBJECT_KINDS:
            return 1
        return 10 if "label" in kinds else 0

    def sample(self, query: Any, annotations: Annotations, classes: Sequence[str], *, name: str, group: str) -> Sample:
        """The labels as a ClassificationTarget. Raises DataError for an id that has no class."""
        return Sample(query, target(annotations, classes, name), name, group)

    def targets(self, sample: Sample, geometry: Geometry, classes: Sequence[str]) -> dict[str, NDArray[Any]]:
        """`class_C`: 1 at each of the picture's classes."""
        return {"class_C": class_vector(sample.target, len(classes))}

    def decoders(self) -> list[tuple[str, int]]:
        """softmax, sigmoid."""
        return base.decoder_names(decoders)

    def decoder(self, name: str, version: int) -> Decoder:
        """The decoder of that name and version; raises ModelError that names what there is."""
        return base.find_decoder(decoders, name, version)

    def metrics(self, classes: Sequence[str]) -> ClassificationMetrics:
        """A fresh collector."""
        return ClassificationMetrics(classes)

    def compare(self, a: Scores, b: Scores, *, bootstrap: int, seed: int) -> Comparison:
        """B against A, paired over the pictures of both."""
        return compare.compare(a, b, bootstrap=bootstrap, seed=seed)

    def resample(self, scores: Scores, *, n: int, seed: int) -> NDArray[np.float64]:
        """(n,) accuracy, or mAP for several labels, of `n` resamples of the pictures or their groups."""
        if scores.main == "map":
            return several.resampled(scores.per_item["kept"], n=n, seed=seed)[:, 0]
        rows, unit_N = scores.per_item["rows"], scores.per_item["unit"]
        return intervals.resample(rows, single.figures, n=n, seed=seed, groups=unit_N)[:, 0]

    def mistakes(
        self, predictions: Sequence[Classification], samples: Sequence[Sample], classes: Sequence[str]
    ) -> list[Mistake]:
        """'most confident': wrong answers, surest first; 'worst': the truth got the lowest score."""
        return mistakes(predictions, samples, classes)

    def explain_targets(self, answer: Answer, asked: Sequence[str], classes: Sequence[str]) -> list[ExplainTarget]:
        """The classes asked for; without words the class of the highest score."""
        return explained.targets(answer, asked, classes)

    def draw(
        self, image_HWC: NDArray[Any], prediction: Classification, classes: Sequence[str], *, truth: Any = None
    ) -> NDArray[np.uint8]:
        """The picture, RGB uint8, with the answer below it; captions say the truth."""
        return draw.draw(image_HWC, prediction, classes)

    def words(self, prediction: Classification, classes: Sequence[str]) -> str:
        """The answer and how sure it is."""
        return prediction.label(classes)

    def rows(self, prediction: Classification, classes: Sequence[str]) -> list[dict[str, Any]]:
        """One flat record for CSV."""
        return [said.row(prediction, classes)]

    def to_json(self, prediction: Classification, classes: Sequence[str]) -> dict[str, Any]:
        """The answer and every class's score."""
        return said.to_json(prediction, classes)

    def annotations(self, prediction: Classification, classes: Sequence[str]) -> SaidLabels:
        """The class that is said, or all that reach the threshold, as labels of the whole picture."""
        class_id = np.array(prediction.class_ids, np.int64)
        nowhere_N4 = np.full((len(class_id), 4), np.nan, np.float32)
        labels = Annotations(class_id, nowhere_N4, np.zeros(len(class_id), np.bool_))
        return SaidLabels(labels, prediction.score_C[class_id])


TASK = ClassificationTask()
