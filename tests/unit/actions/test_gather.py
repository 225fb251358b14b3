"""fit's first step: what stops it, what it says, and how it divides."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import draw_photos
from tests.e2e.objects import draw_objects

from espalier.actions.gather import gather, read
from espalier.actions.models import lookup
from espalier.errors import DataError, UsageError
from espalier.runs.run import Run
from espalier.spec.load import load_spec
from espalier.tasks import base as tasks


def gathered(photos: Path | None, *overrides: str, task: str = "classification"):  # type: ignore[no-untyped-def]
    """(what came out, what was said)."""
    positionals = {} if photos is None else {"fit.photos": str(photos)}
    spec = load_spec(None, overrides=overrides, positionals=positionals, lookup=lookup)
    run = Run.nowhere("fit")
    found = gather(read(spec), spec, tasks.get(task), run, folds=task == "classification")
    said = [event["text"] for event in run.events() if event["kind"] in ("say", "warning")]
    sections = {event["section"] for event in run.events() if event["kind"] == "block"}
    assert sections == {"data"}
    return found, "\n".join(said)


def test_few_pictures_are_not_divided(photos: Path) -> None:
    found, said = gathered(photos)
    assert len(found.train) == 36
    assert found.val is None
    assert "36 labelled pictures, fewer than 300" in said


def test_enough_pictures_are_divided(photos: Path) -> None:
    found, said = gathered(photos, "fit.few_pictures=10")
    assert len(found.train) + len(found.val) == 36
    assert 5 <= len(found.val) <= 10
    assert set(found.train.paths).isdisjoint(found.val.paths)
    assert f"held out {len(found.val)} of 36" in said


def test_parts_of_a_folder_are_taken_as_they_are(tmp_path: Path) -> None:
    for part, seed in (("train", 0), ("val", 1), ("test", 2)):
        draw_photos(tmp_path / part, count=4, seed=seed)
    found, said = gathered(tmp_path)
    assert [len(index) for index in (found.train, found.val, found.test)] == [12, 12, 12]
    assert "validation set that was given" in said


def test_near_duplicates_share_a_group(photos: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(photos, tmp_path / "photos")
    shutil.copy(copy / "disc" / "000.png", copy / "disc" / "copy.png")
    found, said = gathered(copy)
    group = dict(zip(found.train.paths, found.train.group, strict=True))
    assert group["disc/000.png"] == group["disc/copy.png"]
    assert "groups that are kept whole" in said


def test_unreadable_pictures_stop_it_all_at_once(photos: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(photos, tmp_path / "photos")
    for name in ("a.png", "b.png"):
        (copy / "disc" / name).write_bytes(b"not a picture")
    with pytest.raises(DataError) as caught:
        gathered(copy)
    text = str(caught.value)
    assert "a.png" in text
    assert "b.png" in text
    assert "--fix" in text


def test_one_class_is_nothing_to_learn(tmp_path: Path) -> None:
    draw_photos(tmp_path / "only", classes=("disc",), count=6)
    with pytest.raises(DataError, match="class"):
        gathered(tmp_path / "only")


def test_no_pictures_named() -> None:
    with pytest.raises(UsageError, match="espalier fit PHOTOS"):
        gathered(None)


def test_background_and_a_single_class_are_learnt_from(tmp_path: Path) -> None:
    photos = draw_objects(tmp_path / "photos", count=10, empty=3, classes=("red",))
    found, said = gathered(photos, task="detection")
    assert len(found.train) + len(found.val) == 10
    assert "pictures have no label: they are learnt from as background" in said
    assert np.diff(found.val.offsets).any()


def test_boxes_in_no_picture_are_refused(tmp_path: Path) -> None:
    photos = draw_objects(tmp_path / "photos", count=6, empty=6)
    with pytest.raises(DataError, match="no picture has a label"):
        gathered(photos, task="detection")
