"""YOLO's layouts and lines: what data.yaml may say, what a line may hold, what is told of the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from espalier.data.formats import detect, read_index, read_splits
from espalier.data.formats.base import Place
from espalier.data.outlines import bridged
from espalier.errors import DataError, InputError
from espalier.vision.masks import polygons_to_mask


def yolo(root: Path, labels: dict[str, str], yaml: str | None = "train: images\nval:\nnames: [cat, dog]\n") -> Path:
    """Pictures of 40 × 20 px with those label files beside them, below images/ and labels/."""
    for name, text in labels.items():
        picture = root / "images" / f"{name}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20)).save(picture)
        file = root / "labels" / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        if text != "none":
            file.write_text(text, encoding="utf-8")
    if yaml:
        (root / "data.yaml").write_text(yaml, encoding="utf-8")
    return root


def test_boxes_and_outlines_are_shares_of_the_picture(tmp_path: Path) -> None:
    text = "1 0.5 0.5 0.25 0.5\n0 0 0 .5 0 .5 1\n1.0 .1 .1 .2 .1 .2 .2 .1 .2\n"
    index = read_index(str(yolo(tmp_path, {"a": text, "b": "", "c": "none"})))
    assert index.classes == ("cat", "dog")
    assert index.class_id.tolist() == [1, 0, 1]
    assert index.box_xyxy.tolist() == [[15, 5, 25, 15], [0, 0, 20, 20], [4, 2, 8, 4]]
    assert index.annotations(0).segments == (None, [[0, 0, 20, 0, 20, 20]], [[4, 2, 8, 2, 8, 4, 4, 4]])
    assert index.offsets.tolist() == [0, 3, 3, 3]
    assert index.where(1) == f"{tmp_path / 'labels' / 'a.txt'}:2"
    assert [f.code for f in index.findings] == ["no-label-file"]


def test_labels_are_of_the_upright_picture(tmp_path: Path) -> None:
    yolo(tmp_path, {"a": "0 .5 .5 1 1\n"})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "images" / "a.png", exif=exif)
    assert read_index(str(tmp_path)).box_xyxy.tolist() == [[0, 0, 20, 40]]


@pytest.mark.parametrize(
    "yaml",
    [
        "path: .\ntrain: images/train\nval: [images/val]\nnames: {3: dog, 0: cat}\n",
        "train: ../images/train\nval: ../images/val\nnc: 4\nnames: {0: cat, 3: dog}\n",  # as Roboflow writes it
        "path: ../not/there\ntrain: train.txt\nval: images/val\nnames:\n  0: cat\n  3: dog\n",
    ],
)
def test_what_data_yaml_may_say(tmp_path: Path, yaml: str) -> None:
    yolo(tmp_path, {"train/a": "3 .5 .5 1 1", "val/b": "0 .5 .5 1 1"}, yaml)
    (tmp_path / "train.txt").write_text("./images/train/a.png\n")
    for path in (tmp_path, tmp_path / "data.yaml"):
        splits = read_splits(str(path))
        assert {split: index.paths.tolist() for split, index in splits.items()} == {
            "train": ["images/train/a.png"], "val": ["images/val/b.png"]
        }  # fmt: skip
        assert splits["train"].classes == ("cat", "dog")
        assert splits["train"].class_ids.tolist() == [0, 3]
        assert splits["train"].class_id.tolist() == [1]


def test_without_data_yaml_folders_and_numbers_speak(tmp_path: Path) -> None:
    yolo(tmp_path, {"train/a": "12 .5 .5 1 1", "val/b": "3 .5 .5 1 1"}, None)
    (tmp_path / "labels" / "val" / "left.txt").write_text("0 .5 .5 1 1")
    assert detect(Place(str(tmp_path))).name == "yolo"
    splits = read_splits(str(tmp_path))
    assert splits["train"].classes == ("3", "12")
    assert splits["train"].class_ids.tolist() == [3, 12]
    assert sorted(f.code for f in splits["train"].findings) == ["no-class-names", "no-picture"]
    (tmp_path / "classes.txt").write_text("\n".join("abcdefghijklm"))
    assert read_splits(str(tmp_path))["train"].classes[12] == "m"


def test_every_bad_line_is_told_with_its_number(tmp_path: Path) -> None:
    bad = "7 .5 .5 1 1\n0 .5 .5 1\n0 200 100 40 20\n0.5 .5 .5 1 1\n\n0 .5 .5 1 one\n0 nan .5 1 1\n0 .5 .5 1 1 .9\n"
    yolo(tmp_path, {"a": bad + "0 .5 .5 1 1\n"})
    with pytest.raises(DataError) as told:
        read_index(str(tmp_path))
    for line, words in ((1, "class 7 is not among the names"), (2, "4 numbers"), (3, "in pixels?"), (4, "no whole"),
                        (6, "not a line of numbers"), (7, "no share"), (8, "6 numbers")):  # fmt: skip
        assert any(f"a.txt:{line}: " in str(p) and words in str(p) for p in told.value.problems), (line, words)
    assert len(read_index(str(tmp_path), strict=False).class_id) == 1


def test_keypoints_are_not_taken_for_outlines(tmp_path: Path) -> None:
    yaml = "train: images\nnames: [cat]\nkpt_shape: [2, 2]\n"
    index = read_index(str(yolo(tmp_path, {"a": "0 .5 .5 1 1 .1 .1 .2 .2"}, yaml)))
    assert index.kinds == {"box"}
    assert [f.what for f in index.findings] == ["keypoints are not kept"]


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    yolo(tmp_path, {"a": "0 .5 .5 1 1", "b": "0 .5 .5 1 1"})
    (tmp_path / "images" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a\.txt: its labels are shares of a picture that can't be read"):
        read_index(str(tmp_path))


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("train: images/nowhere\nnames: [a]\n", "there is no 'images/nowhere'"),
        ("train: images\nnames: !!python/object:os.system [a]\n", "data.yaml:2"),
        ("train: images\nnames: {a: b}\n", "'names' is no list"),
        ("train: [images\nnames: [a]\n", "data.yaml"),
    ],
)
def test_messages_about_data_yaml(tmp_path: Path, yaml: str, words: str) -> None:
    with pytest.raises(InputError) as told:
        read_index(str(yolo(tmp_path, {"a": ""}, yaml)))
    assert words in str(told.value)


def test_parts_of_an_outline_are_joined_without_area() -> None:
    parts = [[1.0, 1, 6, 1, 6, 6, 1, 6], [10.0, 10, 16, 10, 16, 16], [2.0, 12, 4, 12, 4, 15, 2, 15]]
    one = polygons_to_mask([bridged(parts)], (20, 20))
    several = polygons_to_mask(parts, (20, 20))
    assert np.count_nonzero(one != several) <= 6  # pixels that the rasteriser gives to the lines
