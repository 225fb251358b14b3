"""The decoder of dense detectors: of several cells that mean one object the surest stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from espalier.errors import ModelError
from espalier.tasks.detection import TASK, Detections
from espalier.vision.geometry import Geometry

CLASSES = ("cat", "dog")
GEOMETRY = Geometry((100, 200), (50, 100), (0.5, 0.5), (0.0, 0.0), (50, 100))
OUTPUTS = {
    "logits": np.array([[[0.0, -9.0], [2.0, 1.0], [1.0, -9.0], [-3.0, -9.0]]]),
    "boxes": np.array([[[0.25, 0.5, 0.2, 0.4], [0.25, 0.5, 0.22, 0.4], [0.75, 0.5, 0.2, 0.4], [0.0, 0.5, 0.2, 0.4]]]),
}


def decoded(**params: Any) -> Detections:
    (found,) = TASK.decoder("dense_sigmoid", 1)(OUTPUTS, [GEOMETRY], CLASSES, params)
    assert isinstance(found, Detections)
    return found


def test_the_surest_of_each_class_stays() -> None:
    found = decoded(candidates=5)
    assert found.query is not None
    assert found.query.tolist() == [1, 1, 2, 3]  # the cell 0 is a double of 1
    assert found.class_id.tolist() == [0, 1, 0, 0]
    assert_allclose(found.score, 1 / (1 + np.exp([-2, -1, -1, 3])))
    assert_allclose(found.box_xyxy[0], [28, 30, 72, 70])


def test_what_is_a_double_is_asked() -> None:
    assert decoded(overlap=1.0, candidates=5).score.tolist() == sorted(decoded(overlap=1.0, candidates=5).score)[::-1]
    assert len(decoded(overlap=1.0, candidates=5)) == 5


def test_no_more_than_asked() -> None:
    assert len(decoded(top=2)) == 2
    assert len(decoded(candidates=1)) == 1


def test_edges_cut_boxes_unless_told_otherwise() -> None:
    assert decoded(candidates=5).box_xyxy[3].tolist() == pytest.approx([0, 30, 20, 70])
    assert decoded(candidates=5, clip=False).box_xyxy[3].tolist() == pytest.approx([-20, 30, 20, 70])


def test_misshapen_outputs_are_told() -> None:
    with pytest.raises(ModelError, match="a box for each"):
        TASK.decoder("dense_sigmoid", 1)({**OUTPUTS, "boxes": OUTPUTS["boxes"][:, :2]}, [GEOMETRY], CLASSES, {})
