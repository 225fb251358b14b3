"""Pascal VOC: from where its boxes count, which picture an .xml is for, what an attack in XML gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from espalier.data.formats import detect, read_index, read_splits
from espalier.data.formats.base import Place
from espalier.errors import DataError


def voc(path: Path, *boxes: str, filename: str = "a.jpg", extra: str = "") -> Path:
    objects = "".join(
        f"<object><name>cat</name>{extra}<bndbox>"
        + "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box.split()))
        + "</bndbox></object>\n"
        for box in boxes
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    size = "<size><width>30</width><height>20</height><depth>3</depth></size>\n"
    path.write_text(f"<annotation>\n<filename>{filename}</filename>{size}{objects}</annotation>")
    return path


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_pixels_count_from_one_and_the_last_is_inside(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg")
    index = read_index(str(voc(tmp_path / "a.xml", "1 1 30 20", "3.5 2 4 9")))
    assert index.box_xyxy.tolist() == [[0, 0, 30, 20], [2.5, 1, 4, 9]]
    assert index.size_hw.tolist() == [[20, 30]]
    assert index.where(1) == f"{tmp_path / 'a.xml'}:4"


def test_a_set_that_begins_at_zero_is_taken_as_edges_and_told(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg", tmp_path / "b.jpg")
    voc(tmp_path / "a.xml", "0 2 30 20")
    voc(tmp_path / "b.xml", "5 5 9 9")
    index = read_index(str(tmp_path))
    assert index.box_xyxy.tolist() == [[0, 2, 30, 20], [5, 5, 9, 9]]
    assert [f.code for f in index.findings] == ["counts-from-zero"]


def test_difficult_objects_are_no_ones_mistake(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg")
    index = read_index(
        str(voc(tmp_path / "a.xml", "1 1 3 3", extra="<truncated>1</truncated><difficult>1</difficult>"))
    )
    assert index.is_crowd.tolist() == [True]
    assert [f.what for f in index.findings] == ["objects marked truncated are kept, the mark is not"]


def test_layouts(tmp_path: Path) -> None:
    old = tmp_path / "VOC2007"
    touch(old / "JPEGImages" / "a.jpg", old / "JPEGImages" / "b.jpg", old / "JPEGImages" / "c.jpg")
    voc(old / "Annotations" / "a.xml", "1 1 9 9")
    voc(old / "Annotations" / "b.xml", filename="b.jpg")
    (old / "ImageSets" / "Main").mkdir(parents=True)
    (old / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    (old / "ImageSets" / "Main" / "val.txt").write_text("b\n")
    (old / "ImageSets" / "Main" / "cat_train.txt").write_text("a  1\n")
    for root in (tmp_path, old):
        splits = read_splits(str(root))
        assert {split: (len(i), len(i.class_id)) for split, i in splits.items()} == {"train": (1, 1), "val": (1, 0)}
        assert Path(splits["train"].path(0)) == old / "JPEGImages" / "a.jpg"
        assert [f.code for f in splits["train"].findings] == ["no-label-file"]
    robo = tmp_path / "robo"
    touch(robo / "train" / "a.jpg", robo / "valid" / "a.jpg")
    voc(robo / "train" / "a.xml", "1 1 9 9")
    voc(robo / "valid" / "a.xml", "1 1 9 9")
    assert list(read_splits(str(robo))) == ["train", "val"]


def test_of_two_pictures_with_one_name_the_one_that_is_named_counts(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "a.tif")
    voc(tmp_path / "a.xml", "1 1 9 9", filename="a.tif")
    assert read_index(str(tmp_path)).paths.tolist() == ["a.tif"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('<!DOCTYPE a [<!ENTITY b "c">]>\n<annotation>&b;</annotation>', "a.xml:1: a document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd">\n<annotation/>', "DOCTYPE"),
        ("<annotation>\n<filename>&b;</filename></annotation>", "a.xml:2: not valid XML: undefined entity"),
        ("<annotation>\n<object>\n", "a.xml:3: not valid XML: no element found"),
        ("<annotations/>", "a.xml:1: the first element is <annotations>"),
        ("<annotation>" + "<a>" * 5000, "a.xml:1: elements are nested more than 32 deep"),
        ("<annotation>\n<object><bndbox/></object></annotation>", "a.xml:2: the object has no name"),
        ("<annotation>\n<object><name>c</name><bndbox/></object></annotation>", "a.xml:2: the b"),
        ("<?xml version='1.0' encoding='klingon'?><annotation/>", "unknown encoding"),
    ],
)  # fmt: skip
def test_messages(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.xml").write_text(text)
    touch(tmp_path / "a.jpg")
    with pytest.raises(DataError) as told:
        read_index(str(tmp_path), format="voc")
    assert words in str(told.value)


def test_it_is_told_from_other_xml(tmp_path: Path) -> None:
    assert detect(Place(str(voc(tmp_path / "a.xml")))).name == "voc"
