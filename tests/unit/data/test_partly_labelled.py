"""Which classes a picture was labelled for: LVIS's fields, the file beside the labels, the spec's word, merged sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.data.test_check import codes, photo, save

from espalier.data import commands, convert
from espalier.data.check import check
from espalier.data.formats import read_index, read_splits
from espalier.data.index import Index, assemble, join
from espalier.errors import DataError
from espalier.tasks import base as tasks

CLASSES = ("a", "b", "c")


def coco(folder: Path, *, images: list[dict[str, Any]] | None = None, names: tuple[str, ...] = CLASSES) -> Path:
    """Two pictures of 80 × 60 px, an `a` in the first; category ids 10, 20, …"""
    folder.mkdir(parents=True, exist_ok=True)
    given = images or [{}, {}]
    content = {
        "images": [
            {"id": n, "file_name": f"{n}.jpg", "width": 80, "height": 60, **more} for n, more in enumerate(given)
        ],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 10, "bbox": [1, 1, 30, 20]}],
        "categories": [{"id": 10 * n + 10, "name": name} for n, name in enumerate(names)],
    }
    (folder / "train.json").write_text(json.dumps(content))
    for number in range(len(given)):
        save(folder / f"{number}.jpg", photo(number))
    return folder


def out_of(index: Index) -> list[tuple[int, ...]]:
    return [index.unlabelled_classes(row) for row in range(len(index))]


def small() -> Index:
    return assemble(root="", source="s", paths=["x", "y"], classes=CLASSES, format="made",
                    image_row=np.array([0]), class_id=np.array([0]))  # fmt: skip


class TestIndex:
    def test_all_is_labelled_unless_it_is_said(self) -> None:
        assert out_of(small()) == [(), ()]
        assert small().unlabelled is None

    def test_for_some_classes(self) -> None:
        index = small().labelled_for(["c"], [1])
        assert out_of(index) == [(), (0, 1)]
        assert index.unlabelled_counts().tolist() == [1, 1, 0]
        assert index.partly.tolist() == [False, True]
        assert index.annotations(1).unlabelled == (0, 1)
        assert index.fingerprint() != small().fingerprint()

    def test_it_follows_pictures_and_classes(self) -> None:
        index = small().labelled_for(["c"], [1])
        assert out_of(index.subset([1, 0])) == [(0, 1), ()]
        renamed = index.with_classes(("new", "c", "a"))  # nobody looked for `new` where `c` alone was labelled
        assert out_of(renamed) == [(), (0, 2)]
        assert out_of(join([index, small()], source="")) == [(), (0, 1), (), ()]
        assert out_of(index.keep_annotations(np.array([False]))) == [(), (0, 1)]

    def test_classes_put_together_are_labelled_where_all_of_them_were(self) -> None:
        found = convert.remap({"train": small().labelled_for(["a", "c"], [1])}, {"a": "ab", "b": "ab"})["train"]
        assert found.classes == ("ab", "c")
        assert out_of(found) == [(), (0,)]

    def test_a_task_is_told(self) -> None:
        index = small().labelled_for(["c"], [1])
        sample = tasks.get("detection").sample(None, index.annotations(1), CLASSES, name="", group="")
        assert sample.target.unlabelled == (0, 1)


class TestLvis:
    def test_what_is_neither_shown_nor_listed_is_unlabelled(self, tmp_path: Path) -> None:
        images = [
            {"neg_category_ids": [20], "not_exhaustive_category_ids": []},
            {"neg_category_ids": [], "not_exhaustive_category_ids": [10, 999]},
        ]
        index = read_index(str(coco(tmp_path, images=images)))
        assert out_of(index) == [(2,), (0, 1, 2)]
        assert not [f for f in index.findings if f.code == "not-kept"]

    def test_there_and_perhaps_more_of_it(self, tmp_path: Path) -> None:
        images = [{"neg_category_ids": [20, 30], "not_exhaustive_category_ids": [10]}, {}]
        assert out_of(read_index(str(coco(tmp_path, images=images)))) == [(0,), ()]

    def test_it_is_written_as_it_was_read(self, tmp_path: Path) -> None:
        images = [{"neg_category_ids": [20], "not_exhaustive_category_ids": [10]}, {}]
        index = read_index(str(coco(tmp_path / "in", images=images)))
        assert out_of(index) == [(0, 2), ()]
        assert convert.write({"train": index}, tmp_path / "out", format="coco") == ()
        again = json.loads((tmp_path / "out" / "train.json").read_text())["images"]
        assert {key: again[0][key] for key in images[0]} == images[0]
        assert "neg_category_ids" not in again[1]
        assert out_of(read_index(str(tmp_path / "out"))) == out_of(index)


class TestFile:
    def test_names_and_patterns(self, tmp_path: Path) -> None:
        rows = "image,labelled_classes\n*.jpg,a|b\n1.jpg,c\n"
        (coco(tmp_path) / "labelled_classes.csv").write_text(rows)
        assert out_of(read_index(str(tmp_path))) == [(2,), (0, 1)]
        assert out_of(read_index(str(tmp_path / "train.json"))) == [(2,), (0, 1)]

    def test_rows_about_nothing_and_unknown_names_are_told(self, tmp_path: Path) -> None:
        (coco(tmp_path) / "labelled_classes.csv").write_text("image,labelled_classes\nz.jpg,a\n0.jpg,dog\n")
        found = read_index(str(tmp_path)).findings
        assert [(f.severity, f.code, f.where.rpartition(":")[2]) for f in found] == [
            ("warning", "no-picture", "2"), ("warning", "unknown-class", "3"),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("text", "message"),
        [("image,classes\n", "labelled_classes"), ("image,labelled_classes\n0.jpg,a,b\n", "3 cells"), ("", "columns")],
    )
    def test_a_file_that_is_none(self, tmp_path: Path, text: str, message: str) -> None:
        (coco(tmp_path) / "labelled_classes.csv").write_text(text)
        with pytest.raises(DataError, match=message):
            read_index(str(tmp_path))


class TestSpecsWord:
    def test_the_set_was_labelled_for_these(self, tmp_path: Path) -> None:
        index = read_splits(str(coco(tmp_path)), classes=("a", "b", "c", "d"), labelled_classes=("a",))["train"]
        assert out_of(index) == [(1, 2, 3)] * 2

    def test_unknown_names(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"data\.labelled_classes: unknown class 'A'"):
            read_splits(str(coco(tmp_path)), labelled_classes=("A",))


class TestMerge:
    def both(self, tmp_path: Path, to: str = "coco", **how: Any) -> tuple[dict[str, Index], tuple[str, ...]]:
        old, new = coco(tmp_path / "old", names=("a", "b")), coco(tmp_path / "new", names=("c",))
        content = json.loads((new / "train.json").read_text())
        (new / "train.json").write_text(json.dumps(content))
        reply = commands.merge(
            [str(old), str(new)], into=str(tmp_path / "both"), format="auto", images=None, group=None, to=to,
            pictures="copy", **how,
        )  # fmt: skip
        return read_splits(str(tmp_path / "both")), reply.lines

    @pytest.mark.parametrize("to", ["coco", "yolo", "cvat"])
    def test_a_set_was_not_labelled_for_what_it_does_not_have(self, tmp_path: Path, to: str) -> None:
        splits, lines = self.both(tmp_path, to)
        assert splits["train"].classes == CLASSES
        assert sorted(out_of(splits["train"])) == [(0, 1), (0, 1), (2,), (2,)]
        assert sum("2 of 4 pictures were not labelled for" in line for line in lines) == 3

    def test_unless_it_is_said_that_it_was(self, tmp_path: Path) -> None:
        splits, lines = self.both(tmp_path, complete=True)
        assert out_of(splits["train"]) == [()] * 4
        assert not any("not labelled" in line for line in lines)


def test_the_check_counts_them(tmp_path: Path) -> None:
    report = check({"train": read_index(str(coco(tmp_path))).labelled_for(["c"])})
    told = [f.what for f in report.findings if f.code == "partly-labelled"]
    assert told == ["2 of 2 pictures were not labelled for 'a'", "2 of 2 pictures were not labelled for 'b'"]
    assert ("info", "empty-class") in codes(report)  # `c`, which was looked for


class TestArea:
    def given(self, tmp_path: Path, *areas: Any) -> Path:
        folder = coco(tmp_path)
        content = json.loads((folder / "train.json").read_text())
        content["annotations"] = [
            {
                "id": n,
                "image_id": 0,
                "category_id": 10,
                "bbox": [n, 1, 30, 20],
                **({} if area is None else {"area": area}),
            }
            for n, area in enumerate(areas)
        ]
        (folder / "train.json").write_text(json.dumps(content))
        return folder

    def test_it_is_the_labels_own_where_they_give_one(self, tmp_path: Path) -> None:
        index = read_index(str(self.given(tmp_path, 12.5, None, 0)))
        sample = tasks.get("detection").sample(None, index.annotations(0), index.classes, name="", group="")
        assert sample.target.area.tolist() == [12.5, 600, 0]
        assert not [f for f in index.findings if f.code == "not-kept"]

    @pytest.mark.parametrize("area", ["12", -1, [3], {"a": 1}, True, 10**400, 1e300])
    def test_what_is_no_area_is_left_to_the_box(self, tmp_path: Path, area: Any) -> None:
        index = read_index(str(self.given(tmp_path, 12.5, area)))
        assert index.area is not None
        assert index.area[0] == 12.5
        assert np.isnan(index.area[1])

    def test_it_comes_back(self, tmp_path: Path) -> None:
        index = read_index(str(self.given(tmp_path / "in", 12.123456, 7)))
        convert.write({"train": index}, tmp_path / "out", format="coco")
        again = read_index(str(tmp_path / "out"))
        assert again.area is not None
        assert again.area.tolist() == [12.123456, 7]
        assert again.fingerprint() != ""

    def test_a_set_without_areas_has_none(self, tmp_path: Path) -> None:
        assert read_index(str(coco(tmp_path))).area is None
