"""Which tile of a large picture is explained."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from espalier.actions import explain_tiles
from espalier.errors import UsageError
from espalier.spec.sections import Spec
from espalier.spec.verbs import ExplainSpec
from espalier.tasks.base import Answer, ImageQuery
from espalier.tasks.segmentation import TASK, SegmentMap
from espalier.vision.geometry import Geometry
from espalier.vision.tiling import Tile, Tiling

CLASSES = ("land", "sea")


def look(_: Any, part: ImageQuery) -> SimpleNamespace:
    """A model that says every tile is land, and of each is as sure."""
    logits = np.zeros((1, 2, 8, 8), np.float32)
    logits[:, 0] = 1
    said = SegmentMap.of(np.zeros(part.image_HWC.shape[:2], np.uint8))
    return SimpleNamespace(answer=Answer({"logits": logits}, said, Geometry.identity(part.image_HWC.shape[:2])))


def chosen(monkeypatch: pytest.MonkeyPatch, *words: str) -> Tile | None:
    monkeypatch.setattr(explain_tiles, "View", look)
    tiling = Tiling(32, 0.25)
    query = ImageQuery(np.zeros((32, 80, 3), np.uint8))
    model: Any = SimpleNamespace(tiling=tiling, channels="rgb", task=TASK, classes=CLASSES, predictor=lambda **_: None)
    picture: Any = SimpleNamespace(read=lambda *_: query)
    return explain_tiles.tile_of(picture, model, Spec(explain=ExplainSpec(targets=words)))


@pytest.mark.parametrize("x", [3, 40, 79])
def test_a_pixel_is_the_whole_pictures(monkeypatch: pytest.MonkeyPatch, x: int) -> None:
    tile = chosen(monkeypatch, f"@{x}:5")
    assert tile is not None
    assert tile.window.left <= x < tile.window.left + 32


def test_a_pixel_outside_the_picture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="pixel 80,5 is in no tile"):
        chosen(monkeypatch, "@80:5")
