"""Pictures with objects and detections: by hand, and drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.base import Sample, Scores
from espalier.tasks.detection import TASK, Detections, DetectionTarget
from espalier.tasks.detection.collected import Collector
from espalier.tasks.detection.figures import Kept
from espalier.vision import boxes

Row = tuple[Sequence[float], int]
Scene = tuple[Detections, DetectionTarget]


def truth(
    *rows: Row, crowd: Sequence[int] = (), ignored: Sequence[Sequence[float]] = (), unlabelled: Sequence[int] = ()
) -> DetectionTarget:
    """Objects (box, class); `crowd` are the numbers of those that are crowds."""
    box = np.array([box for box, _ in rows], np.float32).reshape(-1, 4)
    is_crowd = np.zeros(len(rows), bool)
    is_crowd[list(crowd)] = True
    regions = np.array(ignored, np.float32).reshape(-1, 4)
    ids = np.array([c for _, c in rows], np.int64)
    return DetectionTarget(box, ids, is_crowd, boxes.area(box), regions, tuple(unlabelled))


def said(*rows: tuple[Sequence[float], int, float], threshold: float = 0.3) -> Detections:
    """Detections (box, class, score)."""
    if not rows:
        return Detections.none(threshold=threshold)
    box, ids, score = zip(*rows, strict=True)
    return Detections(np.array(box), np.array(score), np.array(ids), threshold=threshold)


def samples(truths: Sequence[DetectionTarget], groups: Sequence[str] = ()) -> list[Sample]:
    """Named by their place."""
    groups = groups or [""] * len(truths)
    return [Sample(None, t, f"{i}.png", g) for i, (t, g) in enumerate(zip(truths, groups, strict=True))]


def kept(scenes: Sequence[Scene], classes: int = 2) -> Kept:
    """The scenes matched."""
    collector = Collector([f"c{i}" for i in range(classes)])
    for prediction, sample in zip([p for p, _ in scenes], samples([t for _, t in scenes]), strict=True):
        collector.add(prediction, sample)
    return Kept.by_boxes(collector.columns())


def scored(scenes: Sequence[Scene], classes: int = 2, *, bootstrap: int = 0, groups: Sequence[str] = ()) -> Scores:
    """The scenes' scores."""
    metrics = TASK.metrics([f"c{i}" for i in range(classes)])
    metrics.update([p for p, _ in scenes], samples([t for _, t in scenes], groups))
    return metrics.compute(bootstrap=bootstrap, seed=0)


def drawn(
    count: int, classes: int, *, seed: int, objects: float = 4, boxes_each: int = 15, crowd: float = 0.1
) -> list[Scene]:
    """Scenes at random: some without objects; boxes near objects (not all of their class) and anywhere."""
    rng = np.random.default_rng(seed)
    return [_scene(rng, classes, objects, boxes_each, crowd) for _ in range(count)]


def _scene(rng: np.random.Generator, classes: int, objects: float, count: int, crowd: float) -> Scene:
    many = int(rng.poisson(objects)) if rng.random() > 0.15 else 0
    size = np.exp(rng.uniform(np.log(6), np.log(250), (many, 2)))
    start = rng.uniform(0, 500, (many, 2))
    box = np.concatenate([start, start + size], axis=1).round().astype(np.float32)
    ids = rng.integers(0, classes, many)
    target = DetectionTarget(box, ids, rng.random(many) < crowd, boxes.area(box))
    about = rng.integers(0, max(many, 1), count)
    near = (rng.random(count) < 0.7) & (many > 0)
    found, named = _anywhere(rng, count), rng.integers(0, classes, count)
    if many:
        found[near] = (box[about] + rng.normal(0, 0.12, (count, 4)) * np.tile(size[about], 2))[near]
        named = np.where(near & (rng.random(count) < 0.85), ids[about], named)
    found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
    return Detections(found, rng.random(count) * np.where(near, 1, 0.6), named), target


def _anywhere(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    start = rng.uniform(0, 500, (count, 2))
    return np.concatenate([start, start + rng.uniform(4, 200, (count, 2))], axis=1)
