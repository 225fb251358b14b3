"""What `predict` writes: a row for each object, and one for a picture in which there is none."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from espalier.actions import predict as verb
from espalier.actions.models import lookup
from espalier.runs.run import Run
from espalier.spec.load import load_spec
from espalier.tasks.detection import TASK, Detections


class Detector:
    """Says two boxes of the first picture and none of the others."""

    name, kind, path = "detector", "bundle", Path("bundle")
    backend = SimpleNamespace(name="none", device="cpu")
    channels, classes, task = "rgb", ("cat", "dog"), TASK

    def predictor(self, *, batch_size: int) -> Detector:
        return self

    def pairs(self, queries: Iterator[Any]) -> Iterator[tuple[Any, Detections]]:
        boxes = Detections(np.array([[1, 2, 9, 8], [0, 0, 4, 4]]), np.array([0.9, 0.5]), np.array([1, 0]))
        for number, query in enumerate(queries):
            yield query, boxes if number == 0 else Detections.none()


def test_a_row_for_each_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (12, 10)).save(tmp_path / name)
    monkeypatch.setattr(verb, "open_model", lambda *args, **more: Detector())
    given = {"predict.model": "bundle", "predict.images": [str(tmp_path / "a.png"), str(tmp_path / "b.png")]}
    spec = load_spec(None, overrides=(), positionals=given, lookup=lookup)
    run = Run.create("predict", out=tmp_path / "run", action="predict")
    assert verb.predict(spec, run)["pictures"] == 2
    with (run.path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["image"]).name for row in rows] == ["a.png", "a.png", "b.png"]
    assert [row["class"] for row in rows] == ["dog", "cat", ""]
    assert rows[0] | {"image": ""} == {
        "image": "", "class": "dog", "score": "0.9", "x1": "1.0", "y1": "2.0", "x2": "9.0", "y2": "8.0",
    }  # fmt: skip
    assert any(event["text"].endswith("2 objects: cat 1, dog 1") for event in run.events() if event["kind"] == "say")
