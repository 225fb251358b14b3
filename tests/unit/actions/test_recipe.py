"""Which task `fit` takes for labels of a kind."""

from __future__ import annotations

import numpy as np
import pytest

from espalier.actions import begin
from espalier.actions.begin import task_for
from espalier.actions.models import lookup
from espalier.data.index import Index, assemble
from espalier.errors import DataError
from espalier.runs.run import Run
from espalier.spec.load import load_spec
from espalier.spec.sections import Spec


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
