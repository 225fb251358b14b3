"""`espalier data …`: what each command writes, says and refuses; the table; the page."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest

from espalier.data import commands
from espalier.data.commands_table import DATA_COMMANDS
from espalier.data.formats import read_index, read_splits
from espalier.data.stats import stats as describe
from espalier.errors import DataError, RunExistsError, UsageError

READ = {"format": "auto", "images": None, "group": None}
WRITE = {**READ, "to": None, "pictures": "copy"}


@pytest.mark.parametrize("command", DATA_COMMANDS, ids=lambda command: command.name)
def test_the_table_fits_the_functions(command: object) -> None:
    module, _, name = command.run.partition(":")  # type: ignore[attr-defined]
    wanted = set(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
    assert {argument.key for argument in command.arguments} == wanted  # type: ignore[attr-defined]


def test_check_says_how_it_went_and_writes_a_page(photos: Path, tmp_path: Path) -> None:
    reply = commands.check([str(photos)], fix=None, out=str(tmp_path / "page.html"), **READ)
    assert reply.exit_code == 0
    assert reply.data["ok"] is True
    page = (tmp_path / "page.html").read_text()
    assert "Pictures of each class" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "x.jpg").write_text("no")
    assert commands.check([str(tmp_path)], fix=None, out=None, **READ).exit_code == 1


def test_check_takes_the_parts_as_several_paths(photos: Path, tmp_path: Path) -> None:
    commands.split(str(photos), str(tmp_path / "s"), val=0.25, test=0.0, seed=0, ignore_near_duplicates=True, **WRITE)
    paths = [str(tmp_path / "s" / "train"), str(photos)]
    reply = commands.check(paths, fix=None, out=None, **READ)
    assert sum(f["code"] == "leak" for f in reply.data["findings"]) == 27
    with pytest.raises(UsageError, match="at most three"):
        commands.check([*paths, "a", "b"], fix=None, out=None, **READ)


def test_stats(photos: Path) -> None:
    reply = commands.stats([str(photos)], out=None, **READ)
    assert reply.lines[0] == "train: 36 pictures, 36 labels (label)"
    assert reply.data["train"]["classes"] == {"bars": 12, "disc": 12, "plain": 12}
    kinds = [block.kind for block in describe(read_splits(str(photos)))]
    assert kinds == ["table", "table", "bars", "table", "table", "bars"]


def test_split_writes_parts(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "s"
    commands.split(str(photos), str(out), val=0.25, test=0.25, seed=0, ignore_near_duplicates=False, **WRITE)
    assert {split: index.counts().tolist() for split, index in read_splits(str(out)).items()} == {
        "train": [6, 6, 6], "val": [3, 3, 3], "test": [3, 3, 3],
    }  # fmt: skip
    with pytest.raises(UsageError, match="split already"):
        commands.split(str(out), str(tmp_path / "t"), val=0.2, test=0, seed=0, ignore_near_duplicates=True, **WRITE)
    with pytest.raises(UsageError, match="shares"):
        commands.split(
            str(photos), str(tmp_path / "t"), val=0.5, test=0.5, seed=0, ignore_near_duplicates=True, **WRITE
        )


def test_convert_there_and_back(photos: Path, tmp_path: Path) -> None:
    reply = commands.convert(str(photos), str(tmp_path / "coco"), **{**WRITE, "to": "coco"})
    assert reply.lines[-1] == "  nothing was lost"
    commands.convert(str(tmp_path / "coco"), str(tmp_path / "csv"), **{**WRITE, "to": "csv"})
    commands.convert(str(tmp_path / "csv"), str(tmp_path / "back"), **{**WRITE, "to": "folders"})
    original, back = read_index(str(photos)), read_index(str(tmp_path / "back"))
    assert back.counts().tolist() == original.counts().tolist()
    sizes = [sorted(Path(index.path(row)).stat().st_size for row in range(36)) for index in (original, back)]
    assert sizes[0] == sizes[1]


def test_pictures_may_stay_where_they_are(photos: Path, tmp_path: Path) -> None:
    commands.convert(str(photos), str(tmp_path / "csv"), **{**WRITE, "to": "csv", "pictures": "reference"})
    index = read_index(str(tmp_path / "csv"))
    assert Path(index.path(0)) == photos.resolve() / "bars" / "000.png"
    assert [file.name for file in (tmp_path / "csv").iterdir()] == ["labels.csv"]
    with pytest.raises(UsageError, match="finds its pictures by where they lie"):
        commands.convert(str(photos), str(tmp_path / "x"), **{**WRITE, "pictures": "reference"})


def test_merge(photos: Path, tmp_path: Path) -> None:
    commands.remap(str(photos), str(tmp_path / "other"), names={"disc": "ball"}, **WRITE)
    reply = commands.merge([str(photos), str(tmp_path / "other")], into=str(tmp_path / "both"), **WRITE)
    both = read_index(str(tmp_path / "both"))
    assert dict(zip(both.classes, both.counts().tolist())) == {"ball": 12, "bars": 24, "disc": 12, "plain": 24}
    assert reply.data["losses"] == {}  # folders have no ids; a COCO file's are told
    commands.convert(str(photos), str(tmp_path / "coco"), **{**WRITE, "to": "coco"})
    reply = commands.merge([str(tmp_path / "coco"), str(photos)], into=str(tmp_path / "ids"), **WRITE)
    assert reply.data["losses"] == {"annotation ids, numbered anew": 36}
    with pytest.raises(UsageError, match="at least two"):
        commands.merge([str(photos)], into=str(tmp_path / "x"), **WRITE)


def test_filter(photos: Path, tmp_path: Path) -> None:
    how = {"smallest": 0.0, "no_crowd": False, "labelled_only": False, **WRITE}
    commands.filter_labels(str(photos), str(tmp_path / "two"), classes=("disc", "bars"), without=(), **how)
    assert read_index(str(tmp_path / "two")).classes == ("bars", "disc")
    commands.filter_labels(str(photos), str(tmp_path / "rest"), classes=(), without=("disc",), **how)
    assert read_index(str(tmp_path / "rest")).classes == ("bars", "plain")
    with pytest.raises(DataError, match="did you mean 'disc'"):
        commands.filter_labels(str(photos), str(tmp_path / "x"), classes=("disk",), without=(), **how)
    assert not (tmp_path / "x").exists()


def test_remap_joins_classes(photos: Path, tmp_path: Path) -> None:
    commands.remap(
        str(photos), str(tmp_path / "r"), names={"disc": "thing", "bars": "thing"}, **{**WRITE, "to": "coco"}
    )
    index = read_index(str(tmp_path / "r"))
    assert dict(zip(index.classes, index.counts().tolist())) == {"thing": 24, "plain": 12}
    for wrong in ({"disk": "x"}, ["disc"]):
        with pytest.raises((DataError, UsageError)):
            commands.remap(str(photos), str(tmp_path / "x"), names=wrong, **WRITE)  # type: ignore[arg-type]


def test_what_is_there_is_never_written_over(photos: Path, tmp_path: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in photos.rglob("*")}
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(RunExistsError):
        commands.convert(str(photos), str(tmp_path / "full"), **{**WRITE, "to": "csv"})
    with pytest.raises(UsageError, match="read and never written to"):
        commands.convert(str(photos), str(photos / "inside"), **{**WRITE, "to": "csv"})
    assert before == {file: file.stat().st_mtime_ns for file in photos.rglob("*")}
    assert (tmp_path / "full" / "mine.txt").read_text() == "x"


def test_a_missing_picture_leaves_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("image,label\ngone.jpg,c\n")
    with pytest.raises(DataError, match="1 pictures can't be copied"):
        commands.convert(str(tmp_path / "l.csv"), str(tmp_path / "out"), **{**WRITE, "to": "folders"})
    assert [file.name for file in tmp_path.iterdir()] == ["l.csv"]


def test_equal_names_from_several_places_stay_apart(tmp_path: Path, photos: Path) -> None:
    rows = [f"{photos}/{name}/000.png,{name}" for name in ("disc", "bars", "plain")]
    (tmp_path / "l.csv").write_text("image,label\n" + "\n".join(rows) + "\n")
    commands.convert(str(tmp_path / "l.csv"), str(tmp_path / "out"), **WRITE)
    index = read_index(str(tmp_path / "out"))
    contents = {Path(index.path(row)).read_bytes() for row in range(3)}
    assert len(contents) == 3
    assert np.unique(index.class_id).tolist() == [0, 1, 2]


def test_classes_whose_names_can_be_no_folders_are_told(photos: Path, tmp_path: Path) -> None:
    names = {"bars": "a?", "disc": "a*", "plain": ".hidden"}
    commands.remap(str(photos), str(tmp_path / "named"), names=names, **{**WRITE, "to": "csv"})
    reply = commands.convert(str(tmp_path / "named"), str(tmp_path / "out"), **{**WRITE, "to": "folders"})
    assert reply.data["losses"] == {
        "classes under another name, since theirs can't be a folder's": 3,
        "classes put together with another, since their folders have one name": 1,
    }
    assert read_index(str(tmp_path / "out")).classes == ("_hidden", "a_")
