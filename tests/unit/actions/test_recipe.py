"""Which task `fit` takes for labels of a kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from espalier.actions import begin
from espalier.actions.begin import task_for
from espalier.actions.models import lookup
from espalier.actions.recipe import facts_of
from espalier.data.index import Index, assemble
from espalier.errors import DataError
from espalier.runs.run import Run
from espalier.spec.facts import Hardware
from espalier.spec.load import load_spec
from espalier.spec.sections import Spec
from espalier.tasks.classification import TASK as CLASSIFICATION


def index(*, boxes: bool, labels: int = 1) -> Index:
    """A picture with that many labels."""
    return assemble(
        root="", source="labels.json", format="coco", paths=["a.png"], classes=["cat"],
        image_row=np.zeros(labels, np.int64), class_id=np.zeros(labels, np.int64),
        box_xyxy=np.array([[0, 0, 4, 4]] * labels, np.float32) if boxes else None,
    )  # fmt: skip


def asked(**overrides: str) -> Spec:
    return load_spec({"fit": {"task": "auto", **overrides}}, lookup=lookup)


def said(run: Run) -> str:
    return "\n".join(event["text"] for event in run.events() if event["kind"] == "warning")


def test_labels_of_whole_pictures_are_classified() -> None:
    run = Run.nowhere("fit")
    assert task_for(asked(), index(boxes=False), run).name == "classification"
    assert said(run) == ""


def test_what_fit_cannot_do_yet_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with_recipe = {"classification"}
    monkeypatch.setattr(begin, "_recipes", lambda task: [task] * (task in with_recipe))
    run = Run.nowhere("fit")
    assert task_for(asked(), index(boxes=True), run).name == "classification"
    assert "suit detection, which fit has no recipe for yet: it does classification" in said(run)
    with_recipe.add("detection")
    assert task_for(asked(), index(boxes=True), Run.nowhere("fit")).name == "detection"


def test_the_task_that_was_asked_for_is_taken() -> None:
    assert task_for(asked(task="detection"), index(boxes=False), Run.nowhere("fit")).name == "detection"


def test_a_named_network_brings_its_task() -> None:
    spec = load_spec({"network": {"name": "classifier"}}, lookup=lookup)
    assert task_for(spec, index(boxes=True), Run.nowhere("fit")).name == "classification"


def test_no_labels_suit_nothing() -> None:
    with pytest.raises(DataError, match="kinds: none"):
        task_for(asked(), index(boxes=False, labels=0), Run.nowhere("fit"))


def test_of_16_bits_those_are_counted_that_the_pictures_use(tmp_path: Path) -> None:
    def saved(name: str, value: int, *, hot: int = 0, dtype: type = np.uint16) -> str:
        image_HW = np.full((64, 64), value, dtype)
        image_HW.flat[:hot] = np.iinfo(dtype).max
        Image.fromarray(image_HW).save(tmp_path / name)
        return name

    def used(*paths: str) -> int:
        none = np.zeros(0, np.int64)
        train = assemble(
            root=str(tmp_path), source="", format="coco", paths=paths, classes=["cat"], image_row=none, class_id=none
        )
        spec = load_spec({"network": {"name": "classifier"}}, lookup=lookup)
        begun = begin.begin(spec, CLASSIFICATION, Run.nowhere(""))
        return facts_of(train, begun, Hardware(), n_val=0).used_bits

    dark, bright = saved("dark.png", 1000), saved("bright.png", 4095)
    assert used(dark) == 10
    assert used(dark, bright) == 12
    assert used(saved("hot.png", 1000, hot=3)) == 10
    assert used(saved("black.png", 0)) == 1
    assert used(saved("eight.png", 200, dtype=np.uint8)) == 0
