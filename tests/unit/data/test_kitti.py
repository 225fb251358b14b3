"""KITTI: lines, ignored regions, folders, and what is told of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from espalier.data.formats import read_index, read_splits
from espalier.errors import DataError

CAR = "Car 0.00 0 -1.58 587.01 173.33 614.12 200.12 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59"
FAR = "DontCare -1 -1 -10 5.00 229.89 214.12 367.61 -1 -1 -1 -1000 -1000 -1000 -10"


def kitti(root: Path, labels: dict[str, str]) -> str:
    for name, text in labels.items():
        picture, file = root / name.replace("*", "image_2"), root / name.replace("*", "label_2")
        for path in (picture, file):
            path.parent.mkdir(parents=True, exist_ok=True)
        picture.with_suffix(".png").write_bytes(b"x")
        file.with_suffix(".txt").write_text(text)
    return str(root)


def test_the_2d_box_is_read_and_dont_care_is_no_class(tmp_path: Path) -> None:
    splits = read_splits(kitti(tmp_path, {"training/*/1": f"{CAR}\n{FAR}\n", "testing/*/2": ""}))
    train, test = splits["train"], splits["test"]
    assert train.classes == test.classes == ("Car",)
    assert train.box_xyxy[0].tolist() == pytest.approx([587.01, 173.33, 614.12, 200.12], abs=1e-3)
    assert train.annotations(0).ignored_xyxy[0].tolist() == pytest.approx([5, 229.89, 214.12, 367.61], abs=1e-3)
    assert (len(train.class_id), len(test), len(test.class_id)) == (1, 1, 0)
    assert [f.code for f in train.findings] == ["not-kept"]
    assert test.annotations(0).ignored_xyxy.shape == (0, 4)


def test_pictures_without_labels_and_labels_without_pictures_are_told(tmp_path: Path) -> None:
    root = kitti(tmp_path, {"*/1": CAR, "*/2": "", "*/3": CAR})
    (tmp_path / "label_2" / "2.txt").unlink()
    (tmp_path / "image_2" / "3.png").unlink()
    index = read_index(root)
    assert index.paths.tolist() == ["image_2/1.png"]
    assert {f.code for f in index.findings} == {"not-kept", "no-label-file", "no-picture"}
    assert len(read_index(str(tmp_path / "label_2" / "1.txt"), images=str(tmp_path / "image_2"))) == 1


def test_every_bad_line_is_told_with_its_number(tmp_path: Path) -> None:
    bad = f"Car 0 0 0 1 2 3\n{CAR}\n{CAR.replace('173.33', 'top')}\n{CAR.replace('173.33', 'inf')}\n"
    with pytest.raises(DataError) as told:
        read_index(kitti(tmp_path, {"*/1": bad}), format="kitti")
    assert [str(p).split("1.txt:")[-1][:11] for p in told.value.problems[:3]] == [
        "1: 7 fields",
        "3: a field ",
        "4: a field ",
    ]
    assert len(read_index(str(tmp_path), format="kitti", strict=False).class_id) == 1
