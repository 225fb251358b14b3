"""Pictures with outlines and masks, drawn at random and by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.base import Sample, Scores
from espalier.tasks.instance import TASK, Instances, InstanceTarget
from espalier.vision.masks import encode_rle, filled, mask_to_box, polygons_to_mask, segment_area

SIZE = (120, 160)
Scene = tuple[Instances, InstanceTarget]


def ellipse(x: float, y: float, rx: float, ry: float, points: int = 16) -> list[list[float]]:
    """As a polygon."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return [np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1).reshape(-1).round(2).tolist()]


def truth(
    *rows: tuple[Any, int],
    size_hw: tuple[int, int] = SIZE,
    crowd: Sequence[int] = (),
    ignored: Sequence[Sequence[float]] = (),
    unlabelled: Sequence[int] = (),
) -> InstanceTarget:
    """Objects (polygons, RLE, or a box of four numbers without an outline; class)."""
    boxes, outlines, areas = [], [], []
    for shape, _ in rows:
        flat = isinstance(shape, tuple)
        outlines.append(None if flat else shape)
        mask = None if flat else _mask(shape, size_hw)
        boxes.append(shape if mask is None else mask_to_box(mask))
        areas.append((shape[2] - shape[0]) * (shape[3] - shape[1]) if flat else segment_area(shape))
    is_crowd = np.zeros(len(rows), bool)
    is_crowd[list(crowd)] = True
    return InstanceTarget(
        np.array(boxes, np.float32).reshape(-1, 4), np.array([c for _, c in rows], np.int64), is_crowd,
        np.array(areas, np.float64), np.array(ignored, np.float32).reshape(-1, 4), tuple(unlabelled), tuple(outlines),
    )  # fmt: skip


def _mask(shape: Any, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    from espalier.vision.masks import decode_rle

    return decode_rle(shape) if isinstance(shape, dict) else polygons_to_mask(shape, size_hw)


def said(*rows: tuple[Any, int, float], size_hw: tuple[int, int] = SIZE, threshold: float = 0.3) -> Instances:
    """Masks (polygons, or None for no mask; class, score)."""
    masks = [None if shape is None else filled(shape, size_hw) for shape, _, _ in rows]
    box = [np.zeros(4) if mask is None else mask_to_box(mask) for mask in masks]
    return Instances(
        np.array(box).reshape(-1, 4), np.array([s for *_, s in rows]), np.array([c for _, c, _ in rows], np.int64),
        threshold=threshold, mask=[None if mask is None else encode_rle(mask) for mask in masks],
    )  # fmt: skip


def samples(truths: Sequence[InstanceTarget]) -> list[Sample]:
    """Named by their place."""
    return [Sample(None, target, f"{i}.png", "") for i, target in enumerate(truths)]


def scored(scenes: Sequence[Scene], classes: int = 2, *, bootstrap: int = 0) -> Scores:
    """The scenes' scores."""
    metrics = TASK.metrics([f"c{i}" for i in range(classes)])
    metrics.update([p for p, _ in scenes], samples([t for _, t in scenes]))
    return metrics.compute(bootstrap=bootstrap, seed=0)


def drawn(count: int, classes: int, *, seed: int, objects: int = 5, answers: int = 12) -> list[Scene]:
    """At random: objects as polygons and RLE, some crowds; answers near them and anywhere, sizes from 3 to 100 px."""
    rng = np.random.default_rng(seed)
    return [_scene(rng, classes, objects, answers) for _ in range(count)]


def _scene(rng: np.random.Generator, classes: int, objects: int, answers: int) -> Scene:
    many = int(rng.poisson(objects)) if rng.random() > 0.15 else 0
    shapes = [_shape(rng) for _ in range(many)]
    ids = rng.integers(0, classes, max(many, 1)).tolist()
    rows: list[tuple[Any, int]] = []
    for shape, class_id in zip(shapes, ids, strict=False):
        outline: Any = ellipse(*shape)
        if rng.random() < 0.4:
            mask = polygons_to_mask(outline, SIZE)
            outline = encode_rle(mask, compressed=bool(rng.random() < 0.5))
        rows.append((outline, class_id))
    crowd = [row for row in range(many) if rng.random() < 0.15]
    found = []
    for _ in range(answers):
        near = bool(shapes) and rng.random() < 0.7
        about = int(rng.integers(0, max(many, 1)))
        shape = np.array(shapes[about]) if near else np.array(_shape(rng))
        shape = shape + rng.normal(0, 0.1, 4) * shape[[2, 3, 2, 3]] if near else shape
        class_id = ids[about] if near and rng.random() < 0.85 else int(rng.integers(0, classes))
        found.append((ellipse(*shape[:2], *np.maximum(shape[2:], 1.5)), class_id, float(rng.random())))
    return said(*found), truth(*rows, crowd=crowd)


def _shape(rng: np.random.Generator) -> tuple[float, float, float, float]:
    rx, ry = np.exp(rng.uniform(np.log(3), np.log(50), 2))
    return float(rng.uniform(0, SIZE[1])), float(rng.uniform(0, SIZE[0])), float(rx), float(ry)
