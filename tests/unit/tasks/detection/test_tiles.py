"""Boxes of overlapping tiles joined: each object counts once, and neighbours stay apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from espalier.tasks import base
from espalier.tasks.base import Tiled
from espalier.tasks.detection.prediction import Detections
from espalier.tasks.detection.task import TASK
from espalier.vision import boxes
from espalier.vision.tiling import Tiling

Row = tuple[tuple[float, float, float, float], float]
WIDE = (100, 250)  # tiles at 0, 75 and 150; the strips 75 to 100 and 150 to 175


def seen(objects: Sequence[Row], size_hw: tuple[int, int], tiling: Tiling, *, least: float = 0.1) -> Detections:
    """What a perfect detector says: in every tile the part that it shows of each object, where that is not a sliver."""
    predictions, windows = [], []
    for tile in tiling.tiles(size_hw):
        left, top, *_ = tile.window.box_xyxy
        box_N4 = np.array([box for box, _ in objects], np.float64).reshape(-1, 4)
        part_N4 = boxes.clip(box_N4 - (left, top, left, top), tile.window.size_hw)
        kept = boxes.area(part_N4) > least * boxes.area(box_N4)
        scores = np.array([score for _, score in objects], np.float64)[kept]
        predictions.append(Detections(part_N4[kept], scores, np.zeros(int(kept.sum())), threshold=0.25))
        windows.append(tile.window)
    return TASK.joined(predictions, windows, size_hw, {"top": 100})


def said(tiles: Sequence[Sequence[Row]], classes: Sequence[Sequence[int]] | None = None, top: int = 100) -> Detections:
    """The joined answer of tiles of WIDE, each with boxes in its own pixels."""
    windows = [tile.window for tile in Tiling(100, 0.25).tiles(WIDE)]
    predictions = [
        Detections(
            np.array([box for box, _ in rows], np.float64).reshape(-1, 4),
            [score for _, score in rows],
            [0] * len(rows) if classes is None else classes[number],
        )
        for number, rows in enumerate(tiles)
    ]
    return TASK.joined(predictions, windows, WIDE, {"top": top})


def test_the_task_joins() -> None:
    assert isinstance(TASK, Tiled)
    assert not isinstance(base.get("classification"), Tiled)


def test_one_tile_is_its_own_answer() -> None:
    alone = Detections([[1, 2, 3, 4]], [0.5], [0], query=[7])
    (tile,) = Tiling(100, 0.25).tiles((50, 50))
    assert TASK.joined([alone], [tile.window], (50, 50), {}) is alone


def test_an_object_across_a_seam_counts_once_and_whole() -> None:
    found = seen([((80, 20, 98, 40), 0.9)], WIDE, Tiling(100, 0.25))  # whole in both tiles
    assert found.box_xyxy.tolist() == [[80, 20, 98, 40]]
    found = seen([((60, 20, 98, 40), 0.9)], WIDE, Tiling(100, 0.25))  # whole in the first, cut in the second
    assert found.box_xyxy.tolist() == [[60, 20, 98, 40]]
    assert found.threshold == 0.25


def test_a_whole_box_stands_for_its_surer_piece() -> None:
    found = said([[((60, 20, 96, 40), 0.6)], [((0, 20, 21, 40), 0.9)], []])
    assert found.box_xyxy.tolist() == [[60, 20, 96, 40]]
    assert found.score.tolist() == pytest.approx([0.9])


def test_a_box_that_is_hardly_believed_in_does_not_shape_a_sure_one() -> None:
    found = said([[((60, 20, 96, 40), 0.01)], [((0, 20, 21, 40), 0.9)], []])
    assert found.box_xyxy[0].tolist() == [75, 20, 96, 40]


def test_an_object_that_no_tile_saw_whole_is_put_together() -> None:
    assert seen([((10, 20, 240, 60), 0.9)], WIDE, Tiling(100, 0.25)).box_xyxy.tolist() == [[10, 20, 240, 60]]
    assert seen([((55, 20, 120, 60), 0.9)], WIDE, Tiling(100, 0.25)).box_xyxy.tolist() == [[55, 20, 120, 60]]


def test_neighbours_stay_two() -> None:
    near = [((78, 20, 92, 40), 0.9), ((84, 20, 98, 40), 0.8)]  # overlap by a half, both whole in both tiles
    assert sorted(seen(near, WIDE, Tiling(100, 0.25)).box_xyxy.tolist()) == [list(box) for box, _ in near]
    across = [((50, 20, 88, 40), 0.9), ((86, 20, 130, 40), 0.8)]  # side by side, each cut by another tile
    assert sorted(seen(across, WIDE, Tiling(100, 0.25)).box_xyxy.tolist()) == [list(box) for box, _ in across]
    inside = [((60, 10, 140, 90), 0.9), ((80, 40, 95, 55), 0.8)]  # a small one before a large one across the seam
    assert sorted(seen(inside, WIDE, Tiling(100, 0.25)).box_xyxy.tolist()) == [list(box) for box, _ in inside]


def test_boxes_of_one_tile_are_never_the_same_object() -> None:
    found = said([[((10, 10, 40, 40), 0.9), ((11, 10, 41, 40), 0.8)], [], []])
    assert len(found) == 2


def test_classes_are_apart() -> None:
    found = said([[((80, 20, 98, 40), 0.9)], [((5, 20, 23, 40), 0.8)], []], classes=[[0], [1], []])
    assert found.class_id.tolist() == [0, 1]


def test_a_crowd_of_objects_comes_back_one_for_one() -> None:
    rng = np.random.default_rng(0)
    places = np.stack(np.meshgrid(np.arange(5, 480, 24), np.arange(5, 380, 24)), -1).reshape(-1, 2)
    start = places + rng.uniform(0, 3, places.shape)
    boxes_N4 = np.concatenate([start, start + rng.uniform(10, 20, places.shape)], 1).astype(np.float32)
    objects = [(tuple(box.tolist()), 0.5 + 0.4 * n / len(boxes_N4)) for n, box in enumerate(boxes_N4)]
    found = seen(objects, (400, 500), Tiling(128, 0.25))  # type: ignore[arg-type]
    assert len(found) == len(objects)
    np.testing.assert_allclose(found.box_xyxy, boxes_N4[::-1], atol=1e-4)  # the surest first


def test_as_many_are_kept_as_of_a_tile_for_each_tile_s_area() -> None:
    rows = [((float(x), 10.0, x + 5.0, 20.0), 0.5) for x in (10, 20, 30, 40, 50)]
    assert len(said([rows, [], []], top=1)) == 3  # 250 px are three tiles' area
    assert len(said([rows, [], []], top=2)) == 5


def test_nothing_said_is_nothing_found() -> None:
    assert len(said([[], [], []])) == 0
