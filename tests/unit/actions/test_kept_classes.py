"""`train.keep_classes`: whose classes come first, and what is said where it can't be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.e2e.objects import draw_objects

from espalier.actions import kept_classes
from espalier.actions.kept_classes import with_kept_classes
from espalier.actions.pictures import warn_of_unlabelled
from espalier.data.formats import read_index
from espalier.runs.run import Run
from espalier.spec.sections import Spec
from espalier.tasks import base as tasks


@pytest.fixture(autouse=True)
def old_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any model that is opened knows green and red."""
    monkeypatch.setattr(kept_classes, "open_model", lambda path, **given: SimpleNamespace(classes=("green", "red")))


def spec(**data: Any) -> Spec:
    return Spec.model_validate({"data": data, "train": {"start_from": "old", "keep_classes": True}})


def warned(run: Run) -> list[str]:
    return [event["text"] for event in run.events() if event["kind"] == "warning"]


def test_old_classes_come_first_and_are_unlabelled_in_the_new_pictures(tmp_path: Path) -> None:
    run, boxes = Run.nowhere("train"), draw_objects(tmp_path, count=6, empty=0)
    found = with_kept_classes(spec(), run, pictures=str(boxes)).data
    assert found.classes == ("green", "red", "blue")
    assert set(found.labelled_classes or ()) == {"red", "blue"}
    run.close()


def test_named_classes_stay_and_a_wish_that_they_break_is_told() -> None:
    run = Run.nowhere("train")
    for classes, told in ((["green", "red", "blue"], 0), (["blue", "green", "red"], 1)):
        asked = spec(classes=classes)
        assert with_kept_classes(asked, run, pictures="new") is asked
        assert len(warned(run)) == told
    assert "keep_classes has no effect" in warned(run)[0]
    run.close()


@pytest.mark.parametrize(("task", "told"), [("detection", 0), ("classification", 1)])
def test_a_task_that_can_leave_nothing_open_says_so(photos: Path, task: str, told: int) -> None:
    run, index = Run.nowhere("train"), read_index(str(photos))
    warn_of_unlabelled(index.labelled_for(index.classes[:1]), tasks.get(task), run)
    assert len(warned(run)) == told
    run.close()
