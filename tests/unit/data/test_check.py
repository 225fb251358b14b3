"""Each kind of finding, the corrected copy, duplicates, and labels on turned pictures."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from espalier.data import upright
from espalier.data.check import CheckReport, check
from espalier.data.duplicates import bits_between, clusters, near_duplicates
from espalier.data.fix import fix
from espalier.data.formats import read_index, read_splits
from espalier.data.scan import THUMB_BYTES, Scan, scan
from espalier.errors import DataError


def photo(seed: int, size_hw: tuple[int, int] = (60, 80)) -> NDArray[np.uint8]:
    """A smooth picture with structure, unlike that of another seed."""
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8), size_hw[::-1], interpolation=cv2.INTER_CUBIC)


def save(path: Path, pixels: NDArray[np.uint8], *, orientation: int = 1, quality: int = 95) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    settings = {"quality": quality} if path.suffix == ".jpg" else {}
    Image.fromarray(pixels).save(path, exif=exif if orientation > 1 else b"", **settings)


def coco(folder: Path, boxes: list[list[float]], **more: object) -> Path:
    """One picture of 80 × 60 px with the boxes, as train.json."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = [{"id": n + 1, "image_id": 1, "category_id": 1, "bbox": box} for n, box in enumerate(boxes)]
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 80, "height": 60}],
        "annotations": labels,
        "categories": [{"id": 1, "name": "thing"}],
        **more,
    }
    (folder / "train.json").write_text(json.dumps(content))
    return folder


def report_of(folder: Path) -> CheckReport:
    return check(read_splits(str(folder), strict=False))


def codes(report: CheckReport) -> list[tuple[str, str]]:
    return [(finding.severity, finding.code) for finding in report.findings]


def test_a_sound_data_set_has_no_findings(photos: Path) -> None:
    report = report_of(photos)
    assert report.ok
    assert [c for c in codes(report) if c[0] != "info"] == []
    assert report.lines()[-1] == "36 pictures: 0 errors, 0 warnings"


def test_missing_truncated_and_foreign_files(tmp_path: Path) -> None:
    for n in range(3):
        save(tmp_path / "c" / f"{n}.jpg", photo(n))
    whole = (tmp_path / "c" / "1.jpg").read_bytes()
    (tmp_path / "c" / "1.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c" / "2.jpg").write_text("no picture")
    lines = "c/0.jpg,c\nc/1.jpg,c\nc/2.jpg,d\nc/gone.jpg,d\n"
    (tmp_path / "labels.csv").write_text("image,label\n" + lines)
    report = report_of(tmp_path / "labels.csv")
    found = {(f.code, f.where.rpartition("/")[2].rpartition(" ")[2]): f for f in report.findings}
    assert {("unreadable", "1.jpg"), ("unreadable", "2.jpg"), ("missing", "gone.jpg")} <= set(found)
    assert "truncated" in found["unreadable", "1.jpg"].what
    assert all(finding.fix for finding in report.unusable)
    assert not report.ok


def test_boxes(tmp_path: Path) -> None:
    boxes = [[10, 10, 20, 20], [10, 10, 0, 5], [70, 10, 30, 20], [100, 100, 5, 5], [10, 10, 20, 20], [79.5, 0, 1, 9]]
    save(coco(tmp_path, boxes) / "a.jpg", photo(0))
    report = report_of(tmp_path)
    assert sorted(codes(report)) == [
        ("error", "outside-box"), ("error", "zero-area-box"),
        ("warning", "duplicate-label"), ("warning", "outside-box"),
    ]  # fmt: skip
    told = {finding.code + finding.severity: str(finding) for finding in report.findings}
    assert "annotation 2 (a.jpg): the box (10, 10, 10, 15) has no area" in told["zero-area-boxerror"]
    assert "reaches 20 px outside the picture of 80 × 60 px" in told["outside-boxwarning"]
    assert "lies wholly outside" in told["outside-boxerror"]
    assert "`--fix DIR` leaves it out" in told["outside-boxerror"]
    assert "`--fix DIR` clips it" in told["outside-boxwarning"]


def test_the_corrected_copy_has_no_errors_and_the_original_is_untouched(tmp_path: Path) -> None:
    boxes = [[10, 10, 20, 20], [10, 10, 0, 5], [70, 10, 30, 20], [100, 100, 5, 5], [10, 10, 20, 20]]
    source = coco(tmp_path / "source", boxes)
    save(source / "a.jpg", photo(0))
    before = {file: file.read_bytes() for file in source.rglob("*") if file.is_file()}
    indexes = read_splits(str(source), strict=False)
    losses = fix(indexes, check(indexes).seen, tmp_path / "fixed")
    assert {str(loss) for loss in losses} == {
        "2 labels without area, with a broken outline, or there twice, left out",
        "1 boxes clipped to their picture",
        "1 boxes wholly outside their picture, left out",
    }
    fixed = read_index(str(tmp_path / "fixed"))
    assert fixed.box_xyxy.tolist() == [[10, 10, 30, 30], [70, 10, 80, 30]]
    assert codes(report_of(tmp_path / "fixed")) == []
    assert before == {file: file.read_bytes() for file in source.rglob("*") if file.is_file()}


def test_outlines(tmp_path: Path) -> None:
    outlines: list[object] = [
        [[1, 1, 9, 1, 9, 9]], [[1, 1, 9]], [["a"]], {"size": [60, 80], "counts": [0, 4800]},
        {"size": [60, 80], "counts": [1]}, {"size": [6, 8], "counts": [0, 48]},
        {"size": [10**9, 10**9], "counts": "0"}, [],
    ]  # fmt: skip
    labels = [{"id": n, "image_id": 1, "category_id": 1, "segmentation": o} for n, o in enumerate(outlines)]
    save(coco(tmp_path, [], annotations=labels) / "a.jpg", photo(0))
    bad = [f.where for f in report_of(tmp_path).findings if f.code == "bad-outline"]
    assert [where.rpartition("annotation ")[2].split()[0] for where in bad] == ["1", "2", "4", "5", "6"]


def test_reader_findings_are_part_of_the_report(tmp_path: Path) -> None:
    labels = [{"id": 5, "image_id": 1, "category_id": 9}, {"id": 6, "image_id": 1, "category_id": 1}]
    save(coco(tmp_path, [], annotations=[*labels, labels[1]]) / "a.jpg", photo(0))
    assert {("error", "unknown-class"), ("warning", "duplicate-id"), ("warning", "duplicate-label")} <= set(
        codes(report_of(tmp_path))
    )


def test_classes_and_leaks_between_splits(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for n in range(4):
        save(source / "train" / "cat" / f"{n}.png", photo(n))
    save(source / "val" / "cat" / "again.jpg", photo(2, (120, 160)), quality=70)
    save(source / "val" / "dog" / "new.png", photo(9))
    report = report_of(source)
    found = {finding.code: finding for finding in report.findings if finding.severity == "error"}
    assert set(found) == {"leak", "class-not-in-train"}
    assert found["leak"].where == str(source / "train" / "cat" / "2.png")
    assert found["leak"].rows == (2,)
    assert "again.jpg of val" in found["leak"].what
    assert "'dog' is on 1 pictures of val" in found["class-not-in-train"].what
    indexes = read_splits(str(source), strict=False)
    fix(indexes, report.seen, tmp_path / "fixed")
    assert len(read_index(str(tmp_path / "fixed" / "train"))) == 3
    assert "leak" not in {finding.code for finding in report_of(tmp_path / "fixed").findings}


def test_without_comparing_pictures_are_read_and_nothing_is_said_to_look_alike(tmp_path: Path) -> None:
    for split in ("train", "val"):
        save(tmp_path / split / "cat" / "1.png", photo(1))
    (tmp_path / "val" / "cat" / "2.jpg").write_text("no")
    indexes = read_splits(str(tmp_path), strict=False)
    report = check(indexes, compare=False)
    assert {finding.code for finding in report.findings if finding.severity == "error"} == {"unreadable"}
    assert "leak" in {finding.code for finding in check(indexes).findings}
    assert report.seen["train"].size_hw.tolist() == [[60, 80]]


def test_the_same_picture_with_two_labels(tmp_path: Path) -> None:
    save(tmp_path / "cat" / "1.png", photo(1))
    save(tmp_path / "dog" / "1.jpg", photo(1))
    save(tmp_path / "dog" / "2.png", photo(2))
    assert ("warning", "conflicting-labels") in codes(report_of(tmp_path))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_points_of_a_stored_picture_are_found_on_the_upright_one(orientation: int) -> None:
    stored = np.zeros((6, 9, 3), np.uint8)
    stored[1, 7] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "png", exif=exif)
    turned = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    ((y, x),) = np.argwhere(turned[:, :, 0] == 255)
    assert upright.boxes(np.array([[7, 1, 8, 2]]), orientation, (6, 9)).tolist() == [[x, y, x + 1, y + 1]]
    assert upright.points(np.array([[7.5, 1.5]]), orientation, (6, 9)).tolist() == [[x + 0.5, y + 0.5]]
    mask = stored[:, :, 0] == 255
    from espalier.vision.masks import decode_rle, encode_rle

    moved = decode_rle(json.loads(upright.outline(encode_rle(mask), orientation, (6, 9))))
    assert np.array_equal(moved, turned[:, :, 0] == 255)
    assert upright.stored_hw(turned.shape[:2], orientation) == (6, 9)


def test_labels_on_a_turned_picture_are_turned_with_it(tmp_path: Path) -> None:
    folder = coco(tmp_path / "source", [[10, 20, 30, 15]])
    save(folder / "a.jpg", photo(0), orientation=6)
    report = report_of(folder)
    assert codes(report) == [("error", "exif-rotation")]
    fix(read_splits(str(folder), strict=False), report.seen, tmp_path / "fixed")
    fixed = read_index(str(tmp_path / "fixed"))
    assert fixed.size_hw.tolist() == [[80, 60]]
    assert fixed.box_xyxy.tolist() == [[25, 10, 40, 40]]
    with Image.open(fixed.path(0)) as picture:
        assert picture.size == (60, 80)
        assert picture.getexif().get(0x0112, 1) == 1
    assert codes(report_of(tmp_path / "fixed")) == []


def test_turned_pictures_with_mere_labels_are_a_note(tmp_path: Path) -> None:
    save(tmp_path / "cat" / "1.jpg", photo(0), orientation=8)
    save(tmp_path / "dog" / "1.jpg", photo(1))
    assert codes(report_of(tmp_path)) == [("info", "exif-rotation")]


def test_nothing_left_to_write_is_told(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "1.jpg").write_text("no")
    indexes = read_splits(str(tmp_path), strict=False)
    with pytest.raises(DataError, match="no picture is left"):
        fix(indexes, check(indexes).seen, tmp_path.parent / "fixed-nothing")


def scanned(tmp_path: Path, *pictures: NDArray[np.uint8]) -> Scan:
    for n, pixels in enumerate(pictures):
        save(tmp_path / "c" / f"{n:03d}.png", pixels)
    return scan(read_index(str(tmp_path)))


CHANGES: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    "smaller": lambda p: cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "larger": lambda p: cv2.resize(p, None, fx=2, fy=2),
    "lighter": lambda p: np.clip(p * 1.1 + 8, 0, 255).astype(np.uint8),
    "recompressed": lambda p: cv2.imdecode(
        cv2.imencode(".jpg", p, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_COLOR
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_near_duplicates_are_found_and_others_are_not(tmp_path: Path, change: str) -> None:
    originals = [photo(n) for n in range(12)]
    cluster = clusters(scanned(tmp_path, *originals, *map(CHANGES[change], originals)))
    assert cluster[:12].tolist() == cluster[12:].tolist()
    assert len(set(cluster.tolist())) == 12


def test_plain_pictures_are_alike_only_when_they_have_the_same_grey(tmp_path: Path) -> None:
    plain = [np.full((20, 30, 3), value, np.uint8) for value in (0, 100, 101, 200)]
    assert len(set(clusters(scanned(tmp_path, *plain)).tolist())) == 3


def test_the_same_shape_in_another_colour_is_another_picture(tmp_path: Path) -> None:
    shape = photo(0)[:, :, :1]
    red, green = (np.concatenate([shape if n == c else shape // 4 for c in range(3)], axis=2) for n in (0, 1))
    assert len(set(clusters(scanned(tmp_path, red, green)).tolist())) == 2


def test_close_hashes_are_found_by_their_parts() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2**63, 300, dtype=np.uint64)
    flips = np.array([sum(1 << int(bit) for bit in rng.choice(64, 5, replace=False)) for _ in base], np.uint64)
    hashes = np.concatenate([base, base ^ flips])
    thumb = np.tile(rng.integers(0, 255, (300, THUMB_BYTES), dtype=np.uint8), (2, 1))
    seen = Scan(np.ones((600, 2), np.int32), np.ones(600, np.uint8), hashes, thumb, np.zeros(600, bool), (None,) * 600)
    pairs = {tuple(sorted(pair)) for pair in near_duplicates(seen).tolist()}
    assert pairs == {(n, n + 300) for n in range(300)}
    assert bits_between(base, base ^ flips).tolist() == [5] * 300


def test_outlines_that_cover_nothing_and_objects_without_one_are_told(tmp_path: Path) -> None:
    outlines: list[object] = [
        [[1, 1, 9, 1, 9, 9]], [[1, 1, 9, 1, 5, 1]], {"size": [60, 80], "counts": [4800]}, [], None,
    ]  # fmt: skip
    labels = [{"id": n, "image_id": 1, "category_id": 1, "bbox": [1, 1, 8, 8], "segmentation": o} for n, o in
              enumerate(outlines)]  # fmt: skip
    save(coco(tmp_path, [], annotations=labels) / "a.jpg", photo(0))
    found = {f.code: str(f) for f in report_of(tmp_path).findings}
    assert "annotation 2 (a.jpg): the outline covers no pixel" in found["empty-outline"]
    assert "2 of 5 labels have no outline" in found["no-outline"]
    assert "annotation 3 (a.jpg), " in found["no-outline"]
