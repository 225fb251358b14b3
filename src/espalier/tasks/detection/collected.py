"""What is kept of scored pictures: columns of detections and of labelled objects, never pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.base import Sample
from espalier.tasks.collected import Pictures
from espalier.tasks.detection.prediction import Detections
from espalier.tasks.detection.sample import DetectionTarget
from espalier.vision import boxes

MOST = 100  # detections of a class that count in a picture: COCO's maxDets
EVERYWHERE = 1e7  # px: reaches past any picture


@dataclass(frozen=True)
class Objects:
    """G labelled objects, sorted by picture. A region where nothing counts is a crowd of each class it may concern."""

    picture: NDArray[np.int64]  # (G,)
    class_id: NDArray[np.int64]
    box: NDArray[np.float64]  # (G, 4)
    area: NDArray[np.float64]
    crowd: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.picture)


@dataclass(frozen=True)
class Found:
    """D detections, sorted by picture, class and falling score; at most `MOST` of a class in a picture."""

    picture: NDArray[np.int64]  # (D,)
    class_id: NDArray[np.int64]
    box: NDArray[np.float64]  # (D, 4)
    score: NDArray[np.float64]
    rank: NDArray[np.int64]  # 0 for the best of its class in its picture
    said: NDArray[np.bool_]  # does its score reach the model's own threshold?

    def __len__(self) -> int:
        return len(self.picture)

    @cached_property
    def area(self) -> NDArray[np.float64]:
        """(D,) px²"""
        return boxes.area(self.box)


@dataclass(frozen=True)
class Columns:
    """Everything that was scored."""

    pictures: Pictures
    classes: tuple[str, ...]
    found: Found
    objects: Objects

    @cached_property
    def best_first(self) -> list[NDArray[np.int64]]:
        """For each class the numbers of its detections, by falling score; of equals the earlier picture's first."""
        return best_first(self.found.class_id, self.found.score, len(self.classes))


def best_first(class_id: NDArray[np.int64], score: NDArray[np.float64], classes: int) -> list[NDArray[np.int64]]:
    """For each class the numbers of its detections, by falling score; of equals the first stays first."""
    order = np.lexsort((-score, class_id))
    ends = np.searchsorted(class_id[order], np.arange(classes + 1))
    return [order[a:b] for a, b in pairwise(ends)]


class Collector:
    """Takes predictions and truths picture by picture."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._names: list[str] = []
        self._groups: list[str] = []
        self._said: list[Detections] = []
        self._truths: list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]] = []

    def __len__(self) -> int:
        return len(self._names)

    def add(self, prediction: Detections, sample: Sample) -> None:
        """One more picture. Raises ValueError for a class that there is not."""
        if len(prediction) and prediction.class_id.max() >= len(self.classes):
            raise ValueError(f"a box is of class {prediction.class_id.max()} of {len(self.classes)}")
        self._names.append(sample.name)
        self._groups.append(sample.group)
        self._said.append(prediction)
        self._truths.append(_truth(sample.target, np.unique(prediction.class_id)))

    def columns(self) -> Columns:
        """All of them."""
        pictures = Pictures(tuple(self._names), tuple(self._groups))
        return Columns(pictures, self.classes, self._found(), self._objects())

    def _found(self) -> Found:
        said = self._said
        picture = np.repeat(np.arange(len(said)), [len(one) for one in said])
        class_id, score, box = (
            np.concatenate([getattr(one, name) for one in said] or [np.zeros(shape)])
            for name, shape in (("class_id", 0), ("score", 0), ("box_xyxy", (0, 4)))
        )
        spoken = np.concatenate([one.score >= np.float32(one.threshold) for one in said] or [np.zeros(0, np.bool_)])
        order = np.lexsort((-score, class_id, picture))
        rank = _place_in_run(picture[order] * len(self.classes) + class_id[order])
        order, rank = order[rank < MOST], rank[rank < MOST]
        return Found(
            picture[order],
            class_id[order].astype(np.int64),
            box[order].astype(np.float64),
            score[order].astype(np.float64),
            rank,
            spoken[order],
        )

    def _objects(self) -> Objects:
        picture = np.repeat(np.arange(len(self._truths)), [len(one[0]) for one in self._truths])
        columns = [np.concatenate(column) for column in zip(*self._truths, strict=True)] if self._truths else []
        if not columns:
            columns = [np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.bool_)]
        return Objects(picture, *columns)


def _truth(
    truth: DetectionTarget, asked: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Class, box, area and crowd of the objects, then of the regions where the classes `asked` don't count."""
    regions = [(c, box) for c in asked for box in truth.ignored_xyxy]
    whole = np.array([-EVERYWHERE, -EVERYWHERE, EVERYWHERE, EVERYWHERE])
    regions += [(c, whole) for c in truth.unlabelled]
    class_id = np.concatenate([truth.class_id, np.array([c for c, _ in regions], np.int64)])
    box = np.concatenate([truth.box_xyxy, np.array([box for _, box in regions], np.float64).reshape(-1, 4)])
    area = np.concatenate([truth.area, np.zeros(len(regions))])
    return class_id, box.astype(np.float64), area, np.concatenate([truth.is_crowd, np.ones(len(regions), np.bool_)])


def _place_in_run(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many equal values stand directly before each."""
    starts = np.flatnonzero(np.diff(values, prepend=values[:1] - 1)) if len(values) else np.zeros(0, np.int64)
    return np.arange(len(values)) - np.repeat(starts, np.diff(np.append(starts, len(values))))
