"""CVAT: shapes, turned boxes, masks, parts of an object, tracks of a video, and what is told of the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from espalier.data.formats import detect, read_index, read_splits
from espalier.data.formats.base import Place
from espalier.errors import DataError
from espalier.vision.masks import decode_rle

LABELS = "<labels><label><name>cat</name></label><label><name>dog</name></label></labels>"
META = f"<version>1.1</version><meta><task>{LABELS}</task>"


def cvat(root: Path, *images: str, meta: str = "") -> Path:
    path = root / "annotations.xml"
    path.write_text(f"<annotations>{META}{meta}</meta>\n" + "\n".join(images) + "</annotations>")
    return path


def image(*shapes: str, name: str = "a.jpg", more: str = "") -> str:
    return f'<image id="0" name="{name}" width="30" height="20" {more}>\n' + "\n".join(shapes) + "</image>"


def test_shapes(tmp_path: Path) -> None:
    index = read_index(str(cvat(tmp_path, image(
        '<box label="dog" xtl="1.5" ytl="2" xbr="9" ybr="8"><attribute name="is_crowd">true</attribute></box>',
        '<box label="cat" xtl="10" ytl="5" xbr="14" ybr="15" rotation="90.0"/>',
        '<polygon label="cat" points="1,1;5,1;5,5.25" group_id="3"/>',
        '<mask label="cat" rle="1, 2, 3" left="4" top="5" width="3" height="2"/>',
        '<polygon label="cat" points="8,8;9,8;9,9" group_id="3"/>',
        '<tag label="dog"/>',
        '<ellipse label="cat" cx="1" cy="1" rx="1" ry="1"/>'))))  # fmt: skip
    assert index.classes == ("cat", "dog")
    assert index.class_id.tolist() == [1, 0, 0, 0, 1]
    assert index.is_crowd.tolist() == [True, False, False, False, False]
    assert index.box_xyxy[:4].tolist() == [[1.5, 2, 9, 8], [7, 8, 17, 12], [1, 1, 9, 9], [5, 5, 7, 6]]
    assert np.isnan(index.box_xyxy[4]).all()
    segments = index.annotations(0).segments
    assert np.allclose(segments[1], [[17, 8, 17, 12, 7, 12, 7, 8]])
    assert len(segments[2]) == 2
    assert np.argwhere(decode_rle(segments[3])).tolist() == [[5, 5], [5, 6]]
    assert [f.what for f in index.findings] == ["shapes of the kind ellipse are not kept"]
    assert index.where(0).endswith("annotations.xml:3")


def test_subsets_are_parts_and_pictures_are_found_in_their_folders(tmp_path: Path) -> None:
    for name in ("images/Train/a.jpg", "images/Validation/b.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"x")
    cvat(tmp_path, image(more='subset="Train"'), image(name="b.jpg", more='subset="Validation"'))
    assert detect(Place(str(tmp_path))).name == "cvat"
    splits = read_splits(str(tmp_path))
    assert {split: index.path(0) for split, index in splits.items()} == {
        "train": str(tmp_path / "images/Train/a.jpg"), "val": str(tmp_path / "images/Validation/b.jpg")
    }  # fmt: skip


def test_tracks_of_a_video(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "frame_000000.png").write_bytes(b"x")
    size = "<original_size><width>30</width><height>20</height></original_size>"
    boxes = "".join(
        f'<box frame="{frame}" outside="{out}" xtl="{frame}" ytl="1" xbr="9" ybr="9" keyframe="1"/>'
        for frame, out in ((0, 0), (1, 0), (2, 1))
    )
    index = read_index(str(cvat(tmp_path, f'<track id="0" label="cat">{boxes}</track>', meta=size)))
    assert index.paths.tolist() == ["frame_000000.png", "frame_000001.PNG", "frame_000002.PNG"]
    assert index.path(0) == str(tmp_path / "images" / "frame_000000.png")
    assert index.offsets.tolist() == [0, 1, 2, 2]
    assert index.size_hw[0].tolist() == [20, 30]


def test_every_bad_shape_is_told_with_its_line(tmp_path: Path) -> None:
    bad = image(
        '<box label="cat" xtl="1" ytl="2" xbr="9"/>',
        '<box xtl="1" ytl="2" xbr="9" ybr="9"/>',
        '<polygon label="cat" points="1,1;2,2"/>',
        '<mask label="cat" rle="1,2" left="0" top="0" width="9" height="9"/>',
        '<mask label="cat" rle="81" left="25" top="0" width="9" height="9"/>',
        '<blob label="cat"/>',
        '<box label="cat" xtl="1" ytl="2" xbr="9" ybr="9"/>',
    )
    path = cvat(tmp_path, bad, '<track label="cat"><box/></track>')
    with pytest.raises(DataError) as told:
        read_index(str(path))
    for line, words in ((3, "not four numbers"), (4, "no label"), (5, "three points"), (6, "do not add up"),
                        (7, "none of its picture"), (8, "<blob>"), (10, "no frame")):  # fmt: skip
        assert any(f"xml:{line}: " in str(p) and words in str(p) for p in told.value.problems), (line, words)
    assert len(read_index(str(path), strict=False).class_id) == 1
