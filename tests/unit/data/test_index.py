"""Index, readers' details: which columns, which ids, which messages."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from espalier.data import convert
from espalier.data.formats import detect, read_index, read_splits
from espalier.data.formats.base import Place, safe_name, split_in_name
from espalier.data.index import Index, assemble
from espalier.errors import DataError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def write(path: Path, value: Any) -> str:
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return str(path)


def small() -> Index:
    return assemble(
        root="r", source="s", format="made", paths=["a", "b", "c"], classes=["x", "y", "z"],
        image_row=np.array([2, 0, 2]), class_id=np.array([0, 1, 2]),
        box_xyxy=np.array([[0, 0, 1, 1], [1, 1, 2, 2], [2, 2, 3, 3]], np.float32),
    )  # fmt: skip


class TestIndex:
    def test_annotations_are_sorted_by_picture(self) -> None:
        index = small()
        assert index.offsets.tolist() == [0, 1, 1, 3]
        assert index.class_id.tolist() == [1, 0, 2]
        assert index.annotations(2).box_xyxy.tolist() == [[0, 0, 1, 1], [2, 2, 3, 3]]
        assert index.counts().tolist() == [1, 1, 1]
        assert index.multi_label
        assert index.kinds == {"box"}

    def test_subset_takes_the_annotations_along_in_the_order_asked_for(self) -> None:
        part = small().subset([2, 1])
        assert part.paths.tolist() == ["c", "b"]
        assert part.offsets.tolist() == [0, 2, 2]
        assert part.class_id.tolist() == [0, 2]
        assert small().subset(np.array([False, False, True])).class_id.tolist() == [0, 2]
        assert len(small().subset([])) == 0

    def test_classes_are_matched_by_name(self) -> None:
        index = small().with_classes(("z", "w", "y", "x"))
        assert [index.classes[c] for c in index.class_id] == ["y", "x", "z"]
        assert index.class_ids.tolist() == [2, 3, 1, 0]
        with pytest.raises(DataError, match="unknown class 'z'"):
            small().with_classes(("x", "y"))

    def test_the_fingerprint_is_of_the_content_not_of_the_place(self) -> None:
        assert small().fingerprint() == small().fingerprint()
        assert small().subset([0, 1]).fingerprint() != small().fingerprint()
        assert small().with_classes(("y", "x", "z")).fingerprint() != small().fingerprint()

    def test_the_classes_wanted_may_be_more_than_there_are(self, tmp_path: Path) -> None:
        touch(tmp_path, "cat/1.jpg", "dog/2.jpg")
        index = read_index(str(tmp_path), classes=("dog", "cow", "cat"))
        assert index.classes == ("dog", "cow", "cat")
        assert index.class_id.tolist() == [2, 0]


class TestFolders:
    def test_deeper_folders_belong_to_the_class_above(self, tmp_path: Path) -> None:
        touch(tmp_path, "cat/1.jpg", "cat/old/2.PNG", "dog/3.jpeg", "dog/notes.txt", ".cache/x/4.jpg", "loose.jpg")
        index = read_index(str(tmp_path))
        assert index.paths.tolist() == ["cat/1.jpg", "cat/old/2.PNG", "dog/3.jpeg"]
        assert [f.code for f in index.findings] == ["no-class"]

    def test_splits_have_the_same_classes(self, tmp_path: Path) -> None:
        touch(tmp_path, "train/cat/1.jpg", "Valid/dog/2.jpg", "test/cat/3.jpg")
        splits = read_splits(str(tmp_path))
        assert {name: (index.classes, len(index)) for name, index in splits.items()} == {
            "train": (("cat", "dog"), 1), "val": (("cat", "dog"), 1), "test": (("cat", "dog"), 1)
        }  # fmt: skip
        assert len(read_index(str(tmp_path / "Valid"))) == 1

    def test_a_folder_around_it_all_is_no_class(self, tmp_path: Path) -> None:
        touch(tmp_path, "photos/cat/1.jpg", "photos/dog/2.jpg")
        assert read_index(str(tmp_path)).classes == ("cat", "dog")

    def test_pictures_without_folders_are_refused(self, tmp_path: Path) -> None:
        touch(tmp_path, "1.jpg", "2.jpg")
        with pytest.raises(DataError, match="no known data format"):
            read_index(str(tmp_path))

    def test_groups_by_expression(self, tmp_path: Path) -> None:
        touch(tmp_path, "cat/tree1_a.jpg", "cat/tree1_b.jpg", "dog/tree2_a.jpg")
        index = read_index(str(tmp_path), group=r"(tree\d+)_")
        assert index.group is not None
        assert index.group.tolist() == ["tree1", "tree1", "tree2"]
        for wrong in ("(", "tree", "(nothing)"):
            with pytest.raises(DataError, match=r"data\.group"):
                read_index(str(tmp_path), group=wrong)


class TestCsv:
    def test_labels_boxes_groups_and_splits(self, tmp_path: Path) -> None:
        text = (
            "Image_Path;Label;xmin;ymin;xmax;ymax;group;split\n"
            'a.jpg;oak|"tall";1;2;3.5;4;p;train\na.jpg;elm;;;;;p;train\nb.jpg;;;;;;q;validation\n'
        )
        splits = read_splits(write(tmp_path / "l.csv", text))
        train, val = splits["train"], splits["val"]
        assert train.classes == ('"tall"', "elm", "oak")
        assert train.box_xyxy[0].tolist() == [1, 2, 3.5, 4]
        assert np.isnan(train.box_xyxy[2]).all()
        assert train.line.tolist() == [2, 2, 3]
        assert train.kinds == {"box", "label"}
        assert train.where(2).endswith("l.csv:3")
        assert len(val) == 1
        assert val.group is not None
        assert val.group.tolist() == ["q"]

    def test_width_and_height_are_a_box_only_with_x_and_y(self, tmp_path: Path) -> None:
        index = read_index(write(tmp_path / "a.csv", "file,class,x,y,w,h\na.jpg,c,1,2,3,4\n"))
        assert index.box_xyxy[0].tolist() == [1, 2, 4, 6]
        index = read_index(
            write(tmp_path / "b.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,9,8,c,1,2,3,4\n")
        )
        assert index.size_hw.tolist() == [[8, 9]]
        assert index.box_xyxy[0].tolist() == [1, 2, 3, 4]

    def test_every_bad_line_is_told_with_its_number(self, tmp_path: Path) -> None:
        bad = "a.jpg,c,1,2,3\n,c,1,2,3,4\na.jpg,c,1,two,3,4\na.jpg,c,1,2,3,inf\n"
        text = f"image,label,xmin,ymin,xmax,ymax\n{bad}a.jpg,c,,,,\n"
        path = write(tmp_path / "l.csv", text)
        with pytest.raises(DataError) as told:
            read_index(path)
        message = str(told.value)
        for line, word in (
            (2, "5 cells where the header has 6"),
            (3, "no picture"),
            (4, "not four numbers"),
            (5, "no place"),
        ):
            assert f"l.csv:{line}: " in message
            assert word in message
        assert len(read_index(path, strict=False).class_id) == 1

    @pytest.mark.parametrize(
        ("content", "word"),
        [
            (b"", "no column for the picture"),
            (b"image,price\na.jpg,3\n", r"l\.csv:1: no column for the label.*the columns are: image, price"),
            (b"image,label\na.jpg,\xff\n", r"l\.csv:2: the text is not UTF-8"),
            (b"image,label\n", "no labelled pictures"),
        ],
    )
    def test_messages(self, tmp_path: Path, content: bytes, word: str) -> None:
        (tmp_path / "l.csv").write_bytes(content)
        with pytest.raises(DataError, match=word):
            read_index(str(tmp_path / "l.csv"))

    def test_pictures_are_found_beside_it_and_in_images(self, tmp_path: Path) -> None:
        path = write(tmp_path / "l.csv", "image,label\na.jpg,c\n")
        assert read_index(path).path(0) == str(tmp_path / "a.jpg")
        touch(tmp_path, "images/a.jpg")
        assert read_index(path).path(0) == str(tmp_path / "images" / "a.jpg")
        assert read_index(path, images="/else").path(0) == str(Path("/else/a.jpg"))


def coco(**parts: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 30, "height": 20}, {"id": 3, "file_name": "b.jpg"}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 90, "bbox": [1, 2, 3, 4], "iscrowd": 1},
            {"id": 2, "image_id": 7, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5]], "bbox": [1, 1, 4, 4]},
            {"id": 3, "image_id": 7, "category_id": 1},
        ],
        "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}],
        **parts,
    }


class TestCoco:
    def test_columns(self, tmp_path: Path) -> None:
        index = read_index(write(tmp_path / "c.json", coco()))
        assert index.classes == ("person", "toothbrush")
        assert index.class_ids.tolist() == [1, 90]
        assert index.image_id.tolist() == [7, 3]
        assert index.size_hw.tolist() == [[20, 30], [-1, -1]]
        assert index.class_id.tolist() == [0, 0, 1]
        assert index.annotation_id.tolist() == [2, 3, 1]
        assert index.box_xyxy[2].tolist() == [1, 2, 4, 6]
        assert index.is_crowd.tolist() == [False, False, True]
        assert index.kinds == {"box", "label", "polygon"}
        assert index.annotations(0).segments == ([[1.0, 1.0, 5.0, 1.0, 5.0, 5.0]], None)

    @pytest.mark.parametrize("ids", [("7", "3"), (2**70, 2**71), ("x", "y"), (0, -5)])
    def test_any_ids(self, tmp_path: Path, ids: tuple[Any, Any]) -> None:
        content = coco(
            images=[{"id": ids[0], "file_name": "a.jpg"}, {"id": ids[1], "file_name": "b.jpg"}],
            annotations=[{"id": "n", "image_id": ids[1], "category_id": "k"}],
            categories=[{"id": "k", "name": "c"}],
        )
        index = read_index(write(tmp_path / "c.json", content))
        assert index.image_row.tolist() == [1]
        assert index.annotation_id.tolist() == [0]

    def test_ids_as_text_here_and_as_numbers_there_are_the_same(self, tmp_path: Path) -> None:
        annotations = [{"id": 1, "image_id": "3", "category_id": "90"}, {"id": 2, "image_id": 7, "category_id": 1}]
        index = read_index(write(tmp_path / "c.json", coco(annotations=annotations)))
        assert index.image_row.tolist() == [0, 1]
        assert [index.classes[c] for c in index.class_id] == ["person", "toothbrush"]

    def test_every_problem_is_told_with_its_id(self, tmp_path: Path) -> None:
        annotations = [
            {"id": 1, "image_id": 99, "category_id": 1, "bbox": [1, 1, 2, 2]},
            {"id": 2, "image_id": 7, "category_id": 5},
            {"id": 3, "image_id": 7, "category_id": 1, "bbox": [1, 2, 3]},
            {"id": 4, "image_id": 7, "category_id": 1, "bbox": ["a", 2, 3, 4]},
            {"id": 5, "image_id": 7, "category_id": 1},
        ]
        images = [*coco()["images"], {"id": 7, "file_name": "again.jpg"}, {"id": 8}]
        path = write(tmp_path / "c.json", coco(annotations=annotations, images=images))
        with pytest.raises(DataError) as told:
            read_index(path)
        message = str(told.value)
        for words in ("annotation 1: it is for picture 99", "annotation 2: its class 5 is not", "annotations[2]: ",
                      "annotations[3]: Expected `float`, got `str`", "images id 7: the id 7 is used more than once",
                      "images[3]: Object missing required field `file_name`"):  # fmt: skip
            assert words in message, message
        index = read_index(path, strict=False)
        assert index.annotation_id.tolist() == [5]
        assert len(index) == 2

    @pytest.mark.parametrize(
        ("text", "word"),
        [
            ('{"images": [],\n"annotations": [,]}', r"c\.json:2: not valid JSON"),
            ('{"images": 3}', "not COCO's JSON: Expected `array`"),
            ('{"annotations": []}', "missing required field `images`"),
            ('{"images": [{"id": 1, "file_na', "not valid JSON: Input data was truncated"),
            ('[{"a": 1}]', "not COCO's JSON: Expected `object`"),
        ],
    )
    def test_messages(self, tmp_path: Path, text: str, word: str) -> None:
        with pytest.raises(DataError, match=word):
            read_index(write(tmp_path / "c.json", text), format="coco")

    def test_what_is_not_kept_is_noted(self, tmp_path: Path) -> None:
        annotations = [{"id": 1, "image_id": 7, "category_id": 1, "keypoints": [1, 2, 3], "area": 4}]
        index = read_index(write(tmp_path / "c.json", coco(annotations=annotations)))
        assert [f.what for f in index.findings] == ["annotations have keypoints: not kept"]

    @pytest.mark.parametrize(
        "names",
        [
            ("annotations/instances_train2017.json", "annotations/instances_val2017.json"),
            ("train/_annotations.coco.json", "valid/_annotations.coco.json"),
            ("train.json", "val.json"),
        ],
    )
    def test_layouts(self, tmp_path: Path, names: tuple[str, str]) -> None:
        pictures = ("train2017/a.jpg", "val2017/a.jpg") if "2017" in names[0] else ("train/a.jpg", "valid/a.jpg")
        if names[0] == "train.json":
            pictures = ("images/train/a.jpg", "images/val/a.jpg")
        touch(tmp_path, *pictures, *names)
        for name in names:
            write(tmp_path / name, coco())
        splits = read_splits(str(tmp_path))
        assert list(splits) == ["train", "val"]
        assert [splits[s].path(0) for s in splits] == [str(tmp_path / p) for p in pictures]

    def test_the_format_is_told_from_what_is_inside(self, tmp_path: Path) -> None:
        assert detect(Place(write(tmp_path / "c.json", coco()))).name == "coco"
        assert detect(Place(write(tmp_path / "c.csv", "image,label\n"))).name == "csv"


def test_names_stay_inside() -> None:
    cases = {
        "../../etc/passwd": "etc/passwd", "/a/b/c.jpg": "b/c.jpg", "C:\\x\\y\\z.jpg": "y/z.jpg",
        "s3://b/k/d.jpg": "k/d.jpg",
        "a//./b.jpg": "a/b.jpg", "..": "picture", "a:b?.jpg": "a_b_.jpg",
    }  # fmt: skip
    assert {name: safe_name(name) for name in cases} == cases


def test_splits_in_names() -> None:
    cases = {"instances_train2017.json": "train", "val.csv": "val", "latest.csv": None, "train_val.json": None}
    assert {name: split_in_name(name) for name in cases} == cases


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('image,label\n"a.jpg,cat\nb.jpg,dog\n', "labels.csv:2: 1 cells where the header has 2; is a quote left open?"),
        ('image,label\na.jpg,"cat\nb.jpg,dog"\n', "labels.csv:2: a line break or a control character in a name"),
        ("image,label\na.jpg,cat\0\0\n", "labels.csv:2: a line break or a control character in a name"),
        ('image,label,note\n\n,cat,"two\nlines"\n', "labels.csv:3: no picture is named"),
    ],
)
def test_a_csv_without_one_good_row_says_why(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DataError, match=re.escape(says)):
        read_index(write(tmp_path / "labels.csv", text), strict=False)


def test_other_columns_may_have_lines(tmp_path: Path) -> None:
    index = read_index(write(tmp_path / "labels.csv", 'image,label,note\na.jpg,cat,"two\nlines"\nb.jpg,dog,\n'))
    assert (list(index.paths), index.line.tolist()) == (["a.jpg", "b.jpg"], [2, 4])


def test_an_outline_without_a_box_gets_the_box_around_it(tmp_path: Path) -> None:
    segments = [[[1, 2, 9, 2, 9.5, 8]], {"size": [20, 30], "counts": [21, 5, 15, 5, 554]}, {"size": [9], "counts": "x"}]
    annotations = [{"id": n, "image_id": 7, "category_id": 1, "segmentation": s} for n, s in enumerate(segments)]
    index = read_index(write(tmp_path / "c.json", coco(annotations=annotations)))
    assert index.box_xyxy[:2].tolist() == [[1, 2, 9.5, 8], [1, 1, 3, 6]]
    assert np.isnan(index.box_xyxy[2]).all()


def test_the_area_written_is_the_outlines(tmp_path: Path) -> None:
    segments = [[[0, 0, 10, 0, 10, 10]], {"size": [20, 30], "counts": [21, 5, 574]}]
    annotations = [
        {"id": n, "image_id": 7, "category_id": 1, "bbox": [0, 0, 10, 10], "segmentation": s}
        for n, s in enumerate(segments)
    ]
    index = read_index(write(tmp_path / "c.json", coco(annotations=annotations)))
    touch(tmp_path, "a.jpg", "b.jpg")
    convert.write({"train": index}, tmp_path / "out", format="coco")
    written = json.loads((tmp_path / "out" / "train.json").read_text())
    assert [item["area"] for item in written["annotations"]] == [50, 5]


def test_an_empty_class_folder_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/1.jpg", "train/dog/2.jpg", "train/cow/notes.txt", "val/cat/3.jpg")
    (tmp_path / "train" / "fox").mkdir()
    (tmp_path / "val" / "dog").mkdir()  # has pictures in train: told by `data check` itself
    (tmp_path / "train" / "cat" / "old").mkdir()
    found = read_splits(str(tmp_path))["train"].findings
    assert [(f.severity, f.code, f.where) for f in found] == [
        ("warning", "empty-class-folder", str(tmp_path / "train" / "cow")),
        ("warning", "empty-class-folder", str(tmp_path / "train" / "fox")),
    ]
