"""The task's object: what the rest of the house calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.tasks import base, intervals
from espalier.tasks.base import Annotations, Answer, Comparison, Decoder, ExplainTarget, Mistake, Sample, Scores
from espalier.tasks.segmentation import compare, decoders, draw, explained, tiles
from espalier.tasks.segmentation import prediction as said
from espalier.tasks.segmentation.figures import of_resamples
from espalier.tasks.segmentation.metrics import SegmentationMetrics
from espalier.tasks.segmentation.mistakes import mistakes
from espalier.tasks.segmentation.prediction import BACKGROUND, SegmentMap, region_rle
from espalier.tasks.segmentation.sample import SegmentationTarget, inside, merged, target
from espalier.tasks.written import SaidLabels
from espalier.vision.geometry import Geometry
from espalier.vision.rle import extent, spans_of
from espalier.vision.tiling import Window

OUTLINES = frozenset({"polygon", "rle"})


class SegmentationTask:
    """A class for each pixel."""

    name = "segmentation"
    mixable: tuple[str, ...] = ()
    ragged: tuple[str, ...] = ()
    background = True
    gives = frozenset({"polygon", "rle"})

    def fits(self, kinds: frozenset[str]) -> int:
        """40 for masks; 3 for outlines, which are objects first."""
        if "mask" in kinds:
            return 40
        return 3 if kinds & OUTLINES else 0

    def classes_for(self, classes: Sequence[str], kinds: frozenset[str]) -> tuple[str, ...]:
        """With `background` first where the labels are outlines, for what none of them covers; a mask says it all."""
        is_whole = "mask" in kinds or BACKGROUND in classes
        return tuple(classes) if is_whole else (BACKGROUND, *classes)

    def sample(self, query: Any, annotations: Annotations, classes: Sequence[str], *, name: str, group: str) -> Sample:
        """The labels as a SegmentationTarget. Raises DataError for an id that has no class, and for a mask or an
        outline that is none of its picture."""
        size_hw = None if query is None else (int(query.image_HWC.shape[0]), int(query.image_HWC.shape[1]))
        return Sample(query, target(annotations, classes, size_hw, name), name, group)

    def targets(self, sample: Sample, geometry: Geometry, classes: Sequence[str]) -> dict[str, NDArray[Any]]:
        """`class_HW` int64, the class of each pixel of the input; -1 in the padding and where nothing is known."""
        return {"class_HW": sample.target.input_map(geometry)}

    def largest_share(self, sample: Sample, geometry: Geometry) -> float:
        """The commonest class's share of the input's labelled pixels; NaN without any."""
        share: float = sample.target.largest_share(geometry)
        return share

    def pixels(self, sample: Sample, size_hw: tuple[int, int]) -> NDArray[np.int64]:
        """(C,) the source's pixels of each class. Raises DataError for labels of another size."""
        found_C: NDArray[np.int64] = sample.target.pixels(size_hw, where=sample.name)
        return found_C

    def cut(self, sample: Sample, geometry: Geometry, *, min_visible: float) -> Sample:
        """The sample as it is: a pixel is inside or not."""
        return sample

    def merged(self, targets: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
        """The map of all: each picture knows its own part of the input."""
        return merged(targets)

    def inside(self, sample: Sample, window: Window) -> Sample:
        """Nothing is known outside the window."""
        return replace(sample, target=inside(sample.target, window))

    def joined(
        self,
        predictions: Sequence[SegmentMap],
        windows: Sequence[Window],
        size_hw: tuple[int, int],
        params: Mapping[str, Any],
    ) -> SegmentMap:
        """The map of the whole picture; where tiles overlap, the one with the nearest middle says the class."""
        return tiles.joined(predictions, windows, size_hw)

    def decoders(self) -> list[tuple[str, int]]:
        """segmentation_class."""
        return base.decoder_names(decoders)

    def decoder(self, name: str, version: int) -> Decoder:
        """The decoder of that name and version; raises ModelError that names what there is."""
        return base.find_decoder(decoders, name, version)

    def metrics(self, classes: Sequence[str]) -> SegmentationMetrics:
        """A fresh collector."""
        return SegmentationMetrics(classes)

    def compare(self, a: Scores, b: Scores, *, bootstrap: int, seed: int) -> Comparison:
        """B against A, paired over the pictures of both."""
        return compare.compare(a, b, bootstrap=bootstrap, seed=seed)

    def resample(self, scores: Scores, *, n: int, seed: int) -> NDArray[np.float64]:
        """(n,) mIoU of `n` resamples of the pictures or their groups."""
        rows, unit_N = scores.per_item["kept"].rows, scores.per_item["unit"]
        return intervals.resample(rows, of_resamples(rows), n=n, seed=seed, groups=unit_N)[:, 0]

    def mistakes(
        self, predictions: Sequence[SegmentMap], samples: Sequence[Sample], classes: Sequence[str]
    ) -> list[Mistake]:
        """'most pixels wrong' and 'least overlap'; captions name the worst mix-up."""
        return mistakes(predictions, samples, classes)

    def explain_targets(self, answer: Answer, asked: Sequence[str], classes: Sequence[str]) -> list[ExplainTarget]:
        """Classes, or what is said at a pixel ('120,45'); without words the largest region."""
        return explained.targets(answer, asked, classes)

    def draw(
        self,
        image_HWC: NDArray[Any],
        prediction: SegmentMap,
        classes: Sequence[str],
        *,
        truth: SegmentationTarget | None = None,
    ) -> NDArray[np.uint8]:
        """The picture, RGB uint8, tinted by class, with a list of the classes; striped where the truth says another."""
        return draw.draw(image_HWC, prediction, classes, truth=truth)

    def words(self, prediction: SegmentMap, classes: Sequence[str]) -> str:
        """The largest classes with their shares of the picture."""
        return said.words(prediction, classes)

    def rows(self, prediction: SegmentMap, classes: Sequence[str]) -> list[dict[str, Any]]:
        """A flat record for each class that is said."""
        return said.rows(prediction, classes)

    def to_json(self, prediction: SegmentMap, classes: Sequence[str]) -> dict[str, Any]:
        """Of each class its share and its pixels, as RLE and polygons."""
        return said.to_json(prediction, classes)

    def annotations(self, prediction: SegmentMap, classes: Sequence[str]) -> SaidLabels:
        """Each class's pixels as one region; the background is what they leave."""
        regions = prediction.regions(classes)
        class_HW = prediction.class_HW
        masks = [region_rle(class_HW, class_id) for class_id in regions]
        box_N4 = np.array([extent(spans_of(mask), prediction.size_hw[0]) for mask in masks], np.float32).reshape(-1, 4)
        labels = Annotations(np.array(regions, np.int64), box_N4, np.zeros(len(regions), np.bool_), masks)
        return SaidLabels(labels, np.array([prediction.sure(class_id) for class_id in regions], np.float64))


TASK = SegmentationTask()
