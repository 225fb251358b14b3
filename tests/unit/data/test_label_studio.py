"""Label Studio: per cent, turned rectangles, brush masks, addresses, which annotation counts, and what is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from espalier.data.brush import pack, unpack
from espalier.data.formats import detect, read_index, read_splits
from espalier.data.formats.base import Place
from espalier.errors import DataError
from espalier.vision.masks import decode_rle


def result(kind: str, names: list[str], **value: Any) -> dict[str, Any]:
    return {"id": "r", "type": kind, "from_name": "label", "to_name": "image", "original_width": 200,
            "original_height": 100, "value": {**value, kind: names}}  # fmt: skip


def task(*results: Any, image: str = "a.jpg", **more: Any) -> dict[str, Any]:
    return {"id": 7, "data": {"image": image}, "annotations": [{"result": list(results)}], **more}


def write(root: Path, *tasks: Any) -> str:
    (root / "export.json").write_text(json.dumps(tasks))
    return str(root / "export.json")


def test_shapes(tmp_path: Path) -> None:
    mask = np.zeros((100, 200), bool)
    mask[3:5, 7:19] = True
    index = read_index(write(tmp_path, task(
        result("rectanglelabels", ["cat"], x=10, y=20, width=5, height=50, rotation=0),
        result("rectanglelabels", ["cat", "dog"], x=50, y=50, width=10, height=10, rotation=90),
        result("polygonlabels", ["dog"], points=[[0, 0], [50, 0], [50, 50]]),
        result("brushlabels", ["dog"], format="rle", rle=pack(mask)),
        {"type": "choices", "value": {"choices": ["indoors"]}},
        {"type": "labels", "original_width": 200, "original_height": 100,
         "value": {"x": 0, "y": 0, "width": 1, "height": 1, "labels": ["cat"]}},
        result("ellipselabels", ["dog"], x=1, y=1, radiusX=1, radiusY=1),
        {"type": "relation", "from_id": "a", "to_id": "b"})))  # fmt: skip
    assert [index.classes[c] for c in index.class_id] == ["cat", "cat", "dog", "dog", "dog", "indoors", "cat"]
    boxes = [[20, 20, 30, 70], [90, 50, 100, 70], [90, 50, 100, 70], [0, 0, 100, 50], [7, 3, 19, 5]]
    assert index.box_xyxy[:5].tolist() == boxes
    assert np.isnan(index.box_xyxy[5]).all()
    segments = index.annotations(0).segments
    assert np.allclose(segments[1], [[100, 50, 100, 70, 90, 70, 90, 50]])
    assert (decode_rle(segments[4]) == mask).all()
    assert [f.what for f in index.findings] == ["results of the kind 'ellipselabels' are not kept"]
    assert index.size_hw.tolist() == [[100, 200]]
    assert index.where(1).endswith("export.json: task 7: annotation 1")


def test_which_annotation_counts(tmp_path: Path) -> None:
    box = {"x": 0, "y": 0, "width": 10, "height": 10}
    first, second = result("rectanglelabels", ["a"], **box), result("rectanglelabels", ["b"], **box)
    index = read_index(write(
        tmp_path,
        task(image="1.jpg", annotations=[{"result": [first], "was_cancelled": True}, {"result": [second]}]),
        task(image="2.jpg", annotations=[{"result": [first]}, {"result": [second], "ground_truth": True}]),
        task(image="3.jpg"),
        task(image="4.jpg", annotations=[]),
    ))  # fmt: skip
    assert index.paths.tolist() == ["1.jpg", "2.jpg", "3.jpg"]
    assert index.classes == ("b",)
    assert index.offsets.tolist() == [0, 1, 2, 2]
    assert sorted(f.code for f in index.findings) == ["several-annotations", "unlabelled"]


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("/data/local-files/?d=photos/a%20b.jpg", "photos/a b.jpg"),
        ("/data/upload/3/0a1b2c3d-x.jpg", "x.jpg"),
        ("/data/upload/3/0a1b2c3d-x.jpg", "images/0a1b2c3d-x.jpg"),
        ("images/x.jpg", "images/x.jpg"),
    ],
)
def test_addresses(tmp_path: Path, address: str, file: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_bytes(b"x")
    write(tmp_path, task({"type": "choices", "value": {"choices": ["c"]}}, image=address))
    assert detect(Place(str(tmp_path))).name == "label_studio"
    assert read_splits(str(tmp_path))["train"].path(0) == str(tmp_path / file)


def test_a_group_may_come_from_the_task_or_from_the_path(tmp_path: Path) -> None:
    choice = {"type": "choices", "value": {"choices": ["c"]}}
    path = write(tmp_path, task(choice, image="t1_a.jpg", data={"image": "t1_a.jpg", "group": "x", "split": "val"}))
    assert list(read_splits(path)) == ["val"]
    for asked, group in ((None, "x"), ("group", "x"), (r"^(t\d)_", "t1")):
        assert read_index(path, group=asked).group == [group]


def test_every_bad_result_is_told_with_its_task(tmp_path: Path) -> None:
    no_size = result("rectanglelabels", ["a"], x=1, y=1, width=1, height=1) | {"original_width": None}
    turned = result("rectanglelabels", ["a"], x=1, y=1, width=1, height=1) | {"image_rotation": 90}
    path = write(
        tmp_path,
        task(no_size, turned, result("rectanglelabels", ["a"], x="1", y=1, width=1, height=1),
             result("polygonlabels", ["a"], points=[[1, 1], [2, 2]]), result("brushlabels", ["a"], rle=[1, 2, 3]),
             result("brushlabels", ["a"], rle=pack(np.ones((4, 4), bool))), {"type": "x"},
             result("rectanglelabels", ["a"], x=1, y=1, width=1, height=1, rotation="x")),
        {"id": 8, "data": {"text": "hello"}, "annotations": []},
        9,
    )  # fmt: skip
    with pytest.raises(DataError) as told:
        read_index(path)
    for words in ("task 7: result r: the rectanglelabels has no original_w", "turned in Label Studio", "no per cent",
                  "three or more pairs", "ends too early", "not one of 200 × 100 px", "has no value",
                  "no number of degrees",
                  "task 8: the task names no picture", "task number 3: "):  # fmt: skip
        assert any(words in str(problem) for problem in told.value.problems), words


def test_a_broken_file_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text('[{"id": 1, "data": {"image": "a.jpg"}, "annotations": [')
    with pytest.raises(DataError, match="not Label Studio's JSON: Input data was truncated"):
        read_index(str(tmp_path / "export.json"))


def test_brush_masks_come_back_from_their_packing() -> None:
    rng = np.random.default_rng(0)
    for size_hw in ((1, 1), (7, 5), (40, 300), (200, 400)):
        for density in (0, 0.1, 0.9, 1):
            mask = rng.random(size_hw) < density
            assert (unpack(pack(mask), size_hw) == mask).all()


def test_the_packing_is_label_studios() -> None:
    """Two pixels, transparent and opaque, by hand: a run of 4 zeros, then 4 values of 255 one by one."""
    bits = (
        f"{8:032b}" + f"{7:05b}" + "0010" * 4 + "1" + "00" + "011" + f"{0:08b}" + "0" + "01" + "011" + f"{255:08b}" * 4
    )
    bits += "0" * (-len(bits) % 8)
    packed = [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]
    assert unpack(packed, (1, 2)).tolist() == [[False, True]]
