"""The task's object: what the rest of the house calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.tasks import base
from espalier.tasks.base import Annotations, Comparison, Decoder, Mistake, Sample, Scores
from espalier.tasks.detection import compare, decoders, draw, tiles
from espalier.tasks.detection import prediction as said
from espalier.tasks.detection.metrics import DetectionMetrics
from espalier.tasks.detection.mistakes import mistakes, of_what_is_said
from espalier.tasks.detection.objects import OUTLINES, ObjectTask
from espalier.tasks.detection.prediction import Detections
from espalier.tasks.detection.sample import RAGGED, DetectionTarget, arrays, inside, merged, target
from espalier.vision.geometry import Geometry
from espalier.vision.tiling import Window


class DetectionTask(ObjectTask):
    """A box, a class and a score for each object."""

    name = "detection"
    ragged = RAGGED

    def fits(self, kinds: frozenset[str]) -> int:
        """20 for boxes; 5 for outlines alone, whose boxes will do."""
        if "box" in kinds:
            return 20
        return 5 if kinds & OUTLINES else 0

    def sample(self, query: Any, annotations: Annotations, classes: Sequence[str], *, name: str, group: str) -> Sample:
        """The labels as a DetectionTarget. Raises DataError for an id that has no class and for a box that is none."""
        return Sample(query, target(annotations, classes, name), name, group)

    def targets(self, sample: Sample, geometry: Geometry, classes: Sequence[str]) -> dict[str, NDArray[Any]]:
        """`class_N`, `box_N4` (cx, cy, w, h, 0 to 1 of the input's valid part), ignored regions, unlabelled classes."""
        return arrays(sample.target, geometry)

    def merged(self, targets: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
        """The objects and regions of all; a class that one picture's labels leave out is left out of the whole."""
        return merged(targets)

    def inside(self, sample: Sample, window: Window) -> Sample:
        """Boxes cut off at the window; those that lie outside are gone."""
        return replace(sample, target=inside(sample.target, window))

    def joined(
        self,
        predictions: Sequence[Detections],
        windows: Sequence[Window],
        size_hw: tuple[int, int],
        params: Mapping[str, Any],
    ) -> Detections:
        """The boxes of all tiles in the picture's pixels: each object once, whole where some tile saw all of it."""
        return tiles.joined(predictions, windows, size_hw, params)

    def decoders(self) -> list[tuple[str, int]]:
        """detr_sigmoid, dense_sigmoid."""
        return base.decoder_names(decoders)

    def decoder(self, name: str, version: int) -> Decoder:
        """The decoder of that name and version; raises ModelError that names what there is."""
        return base.find_decoder(decoders, name, version)

    def metrics(self, classes: Sequence[str]) -> DetectionMetrics:
        """A fresh collector."""
        return DetectionMetrics(classes)

    def compare(self, a: Scores, b: Scores, *, bootstrap: int, seed: int) -> Comparison:
        """B against A, paired over the pictures of both."""
        return compare.compare(a, b, bootstrap=bootstrap, seed=seed)

    def mistakes(
        self, predictions: Sequence[Detections], samples: Sequence[Sample], classes: Sequence[str]
    ) -> list[Mistake]:
        """'wrong class', 'missed', 'false alarm', 'poor location': at each prediction's own threshold."""
        return mistakes(of_what_is_said(predictions, samples, classes), samples)

    def draw(
        self,
        image_HWC: NDArray[Any],
        prediction: Detections,
        classes: Sequence[str],
        *,
        truth: DetectionTarget | None = None,
    ) -> NDArray[np.uint8]:
        """The picture, RGB uint8, with the boxes that are said, and dashed what they miss of the truth."""
        return draw.draw(image_HWC, prediction, classes, truth=truth)

    def rows(self, prediction: Detections, classes: Sequence[str]) -> list[dict[str, Any]]:
        """A flat record for each box that is said."""
        return said.rows(prediction, classes)

    def to_json(self, prediction: Detections, classes: Sequence[str]) -> dict[str, Any]:
        """The boxes that are said, and from which score on."""
        return said.to_json(prediction, classes)


TASK = DetectionTask()
