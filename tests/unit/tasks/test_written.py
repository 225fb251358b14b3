"""Predictions as labels, and with tracks: a row for each row."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from espalier.tasks import base
from espalier.tasks.classification.prediction import Classification
from espalier.tasks.detection.prediction import Detections
from espalier.tasks.instance.prediction import Instances
from espalier.tasks.written import Annotating, Trackable

CLASSES = ("cat", "dog", "owl")
THREE = Detections(np.array([[0, 0, 4, 4], [2, 2, 8, 8], [1, 1, 3, 3]]), np.array([0.9, 0.5, 0.2]), np.array([2, 0, 1]))


@pytest.mark.parametrize("name", base.names())
def test_what_a_task_offers_it_offers_whole(name: str) -> None:
    task = base.get(name)
    if isinstance(task, Annotating):
        assert task.gives
        assert task.gives <= {"label", "box", "polygon", "rle", "mask"}
    if isinstance(task, Trackable):
        assert isinstance(task, Annotating)


def test_a_classifier_gives_labels_without_places() -> None:
    task = base.get("classification")
    assert isinstance(task, Annotating)
    one = task.annotations(Classification(np.array([0.1, 0.7, 0.2], np.float32)), CLASSES)
    assert one.annotations.class_id.tolist() == [1]
    assert np.isnan(one.annotations.box_xyxy).all()
    assert one.score.tolist() == pytest.approx([0.7])
    several = task.annotations(Classification(np.array([0.6, 0.1, 0.9], np.float32), multi_label=True), CLASSES)
    assert several.annotations.class_id.tolist() == [0, 2]
    assert several.annotations.box_xyxy.shape == (2, 4)


@pytest.mark.parametrize("name", ["detection", "instance"])
def test_objects_give_what_they_say_and_keep_their_tracks(name: str) -> None:
    task = base.get(name)
    assert isinstance(task, Annotating)
    assert isinstance(task, Trackable)
    found = THREE if name == "detection" else Instances(THREE.box_xyxy, THREE.score, THREE.class_id)
    labels = task.annotations(found, CLASSES)
    assert labels.annotations.class_id.tolist() == [2, 0]
    assert len(task.rows(found, CLASSES)) == len(labels.score) == 2
    boxes = task.boxes(found)
    assert boxes.said.tolist() == [True, True, False]
    tracked = task.tracked(found, np.array([7, -1, -1]))
    assert [row["track_id"] for row in task.rows(tracked, CLASSES)] == [7, None]
    assert [one["track_id"] for one in task.to_json(tracked, CLASSES)["objects"]] == [7, None]
    assert tracked.label(0, CLASSES) == "owl 90 % #7"
    assert tracked.label(1, CLASSES) == "cat 50 %"
    assert "track_id" not in task.rows(found, CLASSES)[0]


def test_a_track_has_its_colour() -> None:
    picture = np.asarray(Image.new("RGB", (400, 400)))
    task = base.get("detection")
    assert isinstance(task, Trackable)
    one = Detections(np.array([[40, 40, 200, 200]]), np.array([0.9]), np.array([0]))
    plain, third = (task.draw(picture, found, CLASSES) for found in (one, task.tracked(one, np.array([3]))))
    assert tuple(plain[120, 40]) != tuple(third[120, 40])
