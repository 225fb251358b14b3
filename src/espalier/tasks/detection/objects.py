"""What the tasks share that say of each object where it is, whatever they say it with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.base import Annotations, Answer, ExplainTarget, Sample, Scores
from espalier.tasks.detection import explained
from espalier.tasks.detection import prediction as said
from espalier.tasks.detection.prediction import Detections
from espalier.tasks.detection.sample import cut
from espalier.tasks.written import Boxes, SaidLabels
from espalier.vision.geometry import Geometry

OUTLINES = frozenset({"polygon", "rle", "mask"})


class ObjectTask:
    """Objects with a class and a score, each of one query of the network."""

    mixable: tuple[str, ...] = ()
    background = True
    gives: frozenset[str] = frozenset({"box"})

    def cut(self, sample: Sample, geometry: Geometry, *, min_visible: float) -> Sample:
        """Objects that the input hardly shows become regions in which their class is neither right nor wrong."""
        return replace(sample, target=cut(sample.target, geometry, min_visible))

    def resample(self, scores: Scores, *, n: int, seed: int) -> NDArray[np.float64]:
        """(n,) mAP of `n` resamples of the pictures or their groups."""
        kept = scores.per_item["kept"]
        chunks = kept.weights(n=n, seed=seed, width=kept.headline.width)
        return np.concatenate([kept.mean_average_precision(weights_NB)[0] for weights_NB in chunks])

    def explain_targets(self, answer: Answer, asked: Sequence[str], classes: Sequence[str]) -> list[ExplainTarget]:
        """Boxes by number ('box 0' is the surest), or the surest box of a class; without words the surest of all."""
        return explained.targets(answer, asked, classes)

    def words(self, prediction: Detections, classes: Sequence[str]) -> str:
        """How many objects, and of which classes."""
        return said.words(prediction, classes)

    def annotations(self, prediction: Detections, classes: Sequence[str]) -> SaidLabels:
        """The boxes that are said, as labels."""
        said = prediction.said
        return SaidLabels(Annotations(said.class_id, said.box_xyxy, np.zeros(len(said), np.bool_)), said.score)

    def boxes(self, prediction: Detections) -> Boxes:
        """All boxes, and which of them are said."""
        is_said = prediction.score >= np.float32(prediction.threshold)
        return Boxes(prediction.box_xyxy, prediction.score, prediction.class_id, is_said, prediction.threshold)

    def tracked(self, prediction: Detections, track_id: NDArray[np.int64]) -> Detections:
        """The prediction with the track of each box."""
        return replace(prediction, track_id=track_id)
