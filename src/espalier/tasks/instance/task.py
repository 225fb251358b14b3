"""The task's object: detection, with a mask for each object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.tasks import base
from espalier.tasks.base import Annotations, Comparison, Decoder, Mistake, Sample, Scores
from espalier.tasks.detection.objects import OUTLINES, ObjectTask
from espalier.tasks.detection.prediction import Detections
from espalier.tasks.detection.task import TASK as DETECTION
from espalier.tasks.instance import compare, decoders, draw, tiles
from espalier.tasks.instance import prediction as said
from espalier.tasks.instance.metrics import InstanceMetrics
from espalier.tasks.instance.mistakes import mistakes
from espalier.tasks.instance.prediction import Instances
from espalier.tasks.instance.sample import RAGGED, InstanceTarget, inside, masks, merged, target
from espalier.tasks.written import SaidLabels
from espalier.vision.geometry import Geometry
from espalier.vision.tiling import Window


class InstanceTask(ObjectTask):
    """A mask, a box, a class and a score for each object."""

    name = "instance"
    ragged = RAGGED
    gives = frozenset({"box", "polygon", "rle"})

    def fits(self, kinds: frozenset[str]) -> int:
        """30 for outlines, beside boxes or alone; boxes are detection's."""
        return 30 if kinds & OUTLINES else 0

    def sample(self, query: Any, annotations: Annotations, classes: Sequence[str], *, name: str, group: str) -> Sample:
        """The labels as an InstanceTarget. Raises DataError for an id that has no class, and for a box or an outline
        that is none."""
        size_hw = None if query is None else (int(query.image_HWC.shape[0]), int(query.image_HWC.shape[1]))
        return Sample(query, target(annotations, classes, size_hw, name), name, group)

    def targets(self, sample: Sample, geometry: Geometry, classes: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Detection's, and `mask_NHW` (n, H, W) uint8 in the input's pixels, `masked_N`: which of them are known."""
        return {**DETECTION.targets(sample, geometry, classes), **masks(sample.target, geometry)}

    def merged(self, targets: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
        """The objects, masks and regions of all; a class that one picture's labels leave out is left out of the
        whole."""
        return merged(targets)

    def inside(self, sample: Sample, window: Window) -> Sample:
        """Boxes and masks cut off at the window; what lies outside is gone."""
        return replace(sample, target=inside(sample.target, window))

    def joined(
        self,
        predictions: Sequence[Instances],
        windows: Sequence[Window],
        size_hw: tuple[int, int],
        params: Mapping[str, Any],
    ) -> Instances:
        """The objects of all tiles in the picture's pixels: each once, whole where some tile saw all of it."""
        return tiles.joined(predictions, windows, size_hw, params)

    def decoders(self) -> list[tuple[str, int]]:
        """detr_masks, dense_masks."""
        return base.decoder_names(decoders)

    def decoder(self, name: str, version: int) -> Decoder:
        """The decoder of that name and version; raises ModelError that names what there is."""
        return base.find_decoder(decoders, name, version)

    def metrics(self, classes: Sequence[str]) -> InstanceMetrics:
        """A fresh collector."""
        return InstanceMetrics(classes)

    def compare(self, a: Scores, b: Scores, *, bootstrap: int, seed: int) -> Comparison:
        """B against A, paired over the pictures of both."""
        return compare.compare(a, b, bootstrap=bootstrap, seed=seed)

    def mistakes(
        self, predictions: Sequence[Instances], samples: Sequence[Sample], classes: Sequence[str]
    ) -> list[Mistake]:
        """'wrong class', 'missed', 'false alarm', 'poor location', by masks: at each prediction's own threshold."""
        return mistakes(predictions, samples, classes)

    def draw(
        self,
        image_HWC: NDArray[Any],
        prediction: Instances,
        classes: Sequence[str],
        *,
        truth: InstanceTarget | None = None,
    ) -> NDArray[np.uint8]:
        """The picture, RGB uint8, with the masks that are said, and dashed what they miss of the truth."""
        return draw.draw(image_HWC, prediction, classes, truth=truth)

    def rows(self, prediction: Instances, classes: Sequence[str]) -> list[dict[str, Any]]:
        """A flat record for each object that is said, its mask as RLE."""
        return said.rows(prediction, classes)

    def to_json(self, prediction: Instances, classes: Sequence[str]) -> dict[str, Any]:
        """The objects that are said, their masks as RLE and as polygons, and from which score on."""
        return said.to_json(prediction, classes)

    def annotations(self, prediction: Detections, classes: Sequence[str]) -> SaidLabels:
        """The objects that are said, as labels with their masks."""
        found = super().annotations(prediction, classes)
        masks = list(prediction.said.mask) if isinstance(prediction, Instances) else ()
        return replace(found, annotations=replace(found.annotations, segments=masks))


TASK = InstanceTask()
