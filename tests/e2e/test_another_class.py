"""A class that joins a model later: the old ones stay at their places and are not unlearnt on pictures without them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.e2e.objects import draw_objects
from tests.e2e.test_detection import spec, told

import espalier
from espalier.actions.models import open_model
from espalier.tasks.base import ImageQuery
from espalier.vision.image import read_image

pytestmark = pytest.mark.slow
OLD = ("red", "blue")


def only_green(folder: Path) -> Path:
    """Takes all labels but those of `green` away: the red and blue rectangles stay in the pictures, unlabelled."""
    for file in folder.glob("*.xml"):
        text = re.sub(r"<object><name>(red|blue)</name>.*?</object>", "", file.read_text())
        file.write_text(text)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`old`: red and blue. `new`: all three colours, of which green alone is labelled."""
    folder = tmp_path_factory.mktemp("another")
    draw_objects(folder / "old" / "train", count=16, empty=0, seed=1, classes=OLD)
    draw_objects(folder / "old" / "val", count=6, empty=0, seed=2, classes=OLD)
    for part, seed in (("train", 4), ("val", 5)):
        only_green(draw_objects(folder / "new" / part, count=12, empty=0, seed=seed, classes=(*OLD, "green")))
    espalier.train(quick(folder / "old", epochs=12), out=folder / "first", progress=False)
    return folder


def quick(boxes: Path, **train: Any) -> dict[str, Any]:
    given = spec(boxes, network={"input": {"size_hw": [64, 96]}}, evaluate_every_epochs=100, **train)
    return {**given, "evaluate": {"bootstrap": 0, "pictures": 1}}


def joined(folder: Path, name: str, **train: Any) -> Path:
    """A run on the new pictures from the first one's weights."""
    given = quick(folder / "new", epochs=8, start_from=str(folder / "first"), **train)
    given["data"] |= {} if train.get("keep_classes") else {"classes": ["blue", "red", "green"]}
    espalier.train(given, out=folder / name, progress=False)
    return folder / name


def sureness(folder: Path, run: Path) -> float:
    """How sure the model is of red and blue in pictures of them: the mean of the best score of each picture."""
    model = open_model(run, device="cpu", backend="torch")
    found = model.predictor()(ImageQuery(read_image(str(file))) for file in sorted((folder / "old/val").glob("*.png")))
    old = [model.classes.index(name) for name in OLD]
    return float(np.mean([each.score[np.isin(each.class_id, old)].max(initial=0) for each in found]))


def test_the_old_classes_are_kept(folder: Path) -> None:
    kept, unlearnt = joined(folder, "kept", keep_classes=True), joined(folder, "unlearnt")
    info = json.loads((kept / "checkpoints/best/checkpoint.json").read_text())
    assert info["classes"] == ["blue", "red", "green"]  # the old ones at their places, then the new one
    assert info["spec"]["data"]["labelled_classes"] == ["green"]
    assert "kept by name: blue, red; new: green; dropped: none" in told(kept)
    assert "data.labelled_classes" in told(kept, "decision")
    before, after, without = (sureness(folder, run) for run in (folder / "first", kept, unlearnt))
    assert after > 0.25 * before  # 0.5 where it was measured: what all classes share moves a little
    assert without < 0.2 * after  # 0.06 there
    scores = espalier.evaluate(kept, out=folder / "scored", overrides={"evaluate.bootstrap": 0}, progress=False)
    assert scores["figures"]["ap50"]["value"] >= 0  # of `green` alone: the others are neither right nor wrong there
