"""What is kept of scored pictures: columns of detections and of labelled objects, never pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.base import Sample
from espalier.tasks.collected import Pictures
from espalier.tasks.detection.prediction import Detections
from espalier.tasks.detection.sample import DetectionTarget
from espalier.vision import boxes

MOST = 100  # detections of a class that count in a picture: COCO's maxDets
EVERYWHERE = 1e7  # px: reaches past any picture
Said = TypeVar("Said", bound=Detections)


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
    area: NDArray[np.float64]  # px²
    score: NDArray[np.float64]
    rank: NDArray[np.int64]  # 0 for the best of its class in its picture
    said: NDArray[np.bool_]  # does its score reach the model's own threshold?

    def __len__(self) -> int:
        return len(self.picture)


Rows = TypeVar("Rows", Found, Objects)


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


@dataclass(frozen=True)
class Truth:
    """What the detections of a picture are held against: its objects, then the regions in which nothing counts.

    `place` is the number of what lies there: an object's, from `len(target)` on an ignored region's, last of all the
    whole picture. A region stands here once for each class that it may concern.
    """

    class_id: NDArray[np.int64]  # (g,)
    box: NDArray[np.float64]  # (g, 4)
    area: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    place: NDArray[np.int64]

    @staticmethod
    def of(target: DetectionTarget, asked: NDArray[np.int64]) -> Truth:
        """`asked` are the classes of the detections."""
        regions = len(target.ignored_xyxy)
        unlabelled = np.intersect1d(np.asarray(target.unlabelled, np.int64), asked)  # of many classes few were found
        region = np.concatenate([np.tile(np.arange(regions), len(asked)), np.full(len(unlabelled), regions)])
        class_id = np.concatenate([np.repeat(asked, regions), unlabelled])
        whole = np.array([[-EVERYWHERE, -EVERYWHERE, EVERYWHERE, EVERYWHERE]])
        count = len(target)
        return Truth(
            np.concatenate([target.class_id, class_id]).astype(np.int64),
            np.concatenate([target.box_xyxy, np.concatenate([target.ignored_xyxy, whole])[region]]).astype(np.float64),
            np.concatenate([target.area, np.zeros(len(region))]),
            np.concatenate([target.is_crowd, np.ones(len(region), np.bool_)]),
            np.concatenate([np.arange(count), count + region]).astype(np.int64),
        )

    def __len__(self) -> int:
        return len(self.class_id)


@dataclass(frozen=True)
class Picture(Generic[Said]):
    """A picture as it is scored."""

    said: Said  # by class and falling score, at most `MOST` of a class
    truth: Truth


class Collector:
    """Takes predictions and truths picture by picture."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._names: list[str] = []
        self._groups: list[str] = []
        none = np.zeros(0, np.int64)
        self._found = [_found(Detections.none(), none, 0)]
        self._objects = [_objects(Truth.of(DetectionTarget.none(), none), 0)]

    def __len__(self) -> int:
        return len(self._names)

    def add(self, prediction: Said, sample: Sample) -> Picture[Said]:
        """One more picture. Raises ValueError for a class that there is not."""
        if len(prediction) and prediction.class_id.max() >= len(self.classes):
            raise ValueError(f"a box is of class {prediction.class_id.max()} of {len(self.classes)}")
        said, rank = _ranked(prediction)
        truth = Truth.of(sample.target, np.unique(prediction.class_id))
        number = len(self)
        self._names.append(sample.name)
        self._groups.append(sample.group)
        self._found.append(_found(said, rank, number))
        self._objects.append(_objects(truth, number))
        return Picture(said, truth)

    def columns(self) -> Columns:
        """All of them."""
        pictures = Pictures(tuple(self._names), tuple(self._groups))
        return Columns(pictures, self.classes, _stacked(self._found), _stacked(self._objects))


def _ranked(prediction: Said) -> tuple[Said, NDArray[np.int64]]:
    """Those that count, by class and falling score, and each one's place in its class."""
    order = np.lexsort((-prediction.score, prediction.class_id))
    rank = _place_in_run(prediction.class_id[order])
    kept = rank < MOST
    return prediction[order[kept]], rank[kept]


def _found(said: Detections, rank: NDArray[np.int64], number: int) -> Found:
    box = said.box_xyxy.astype(np.float64)
    return Found(
        np.full(len(said), number),
        said.class_id,
        box,
        boxes.area(box),
        said.score.astype(np.float64),
        rank,
        said.score >= np.float32(said.threshold),
    )


def _objects(truth: Truth, number: int) -> Objects:
    return Objects(np.full(len(truth), number), truth.class_id, truth.box, truth.area, truth.crowd)


def _stacked(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts."""
    names = parts[0].__dataclass_fields__
    return replace(parts[0], **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _place_in_run(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many equal values stand directly before each."""
    starts = np.flatnonzero(np.diff(values, prepend=values[:1] - 1)) if len(values) else np.zeros(0, np.int64)
    return np.arange(len(values)) - np.repeat(starts, np.diff(np.append(starts, len(values))))
