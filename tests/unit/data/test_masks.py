"""Folders of pictures and masks: which belong together, what values mean, what is wrong, and other formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from espalier.data import convert
from espalier.data.check import check
from espalier.data.formats import detect, get, read_index, read_splits
from espalier.data.formats.base import Place
from espalier.data.index import Index, assemble
from espalier.data.segments import Segments
from espalier.data.stats import stats
from espalier.errors import DataError
from espalier.tasks.segmentation import TASK

IDS = np.array([[0, 0, 1, 1], [2, 2, 255, 1]], np.uint8)
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def picture(path: Path, size_hw: tuple[int, int] = (2, 4), *, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size_hw, 3), dtype=np.uint8)).save(path)


def mask(path: Path, values: np.ndarray = IDS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for n in range(3):
        picture(tmp_path / "set" / "images" / f"p{n}.jpg", seed=n)
        mask(tmp_path / "set" / "masks" / f"p{n}.png")
    return tmp_path / "set"


def maps(index: Index) -> list[list[list[int]]]:
    """What the masks of an index say, 255 unknown."""
    samples = (TASK.sample(None, index.annotations(n), index.classes, name="", group="") for n in range(len(index)))
    return [sample.target.class_map((2, 4)).tolist() for sample in samples]


def codes(path: Path) -> list[str]:
    return [finding.code for finding in check(read_splits(str(path), strict=False)).findings]


# ---- layouts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "its_mask"),
    [
        ("images/train/a.jpg", "masks/train/a.png"),
        ("train/images/a.jpg", "train/masks/a.png"),
        ("images/training/a.jpg", "annotations/training/a.png"),
        ("JPEGImages/train/a.jpg", "SegmentationClass/train/a.png"),
        ("leftImg8bit/train/ulm/a_leftImg8bit.png", "gtFine/train/ulm/a_gtFine_labelIds.png"),
        ("imgs/train/a.jpg", "labels/train/a_mask.png"),
    ],
)
def test_a_picture_finds_its_mask(tmp_path: Path, image: str, its_mask: str) -> None:
    for split in ("train", "val"):
        picture(tmp_path / image.replace("train", split, 1).replace("valing", "val"))
        mask(tmp_path / its_mask.replace("train", split, 1).replace("valing", "val"))
    assert detect(Place(str(tmp_path))).name == "masks"
    found = read_splits(str(tmp_path))
    assert list(found) == ["train", "val"]
    assert found["train"].kinds == {"mask"}
    assert maps(found["val"]) == [[[0, 0, 1, 1], [2, 2, 255, 1]]]


def test_cityscapes_other_pictures_of_a_mask_are_no_masks(tmp_path: Path) -> None:
    picture(tmp_path / "leftImg8bit" / "a_leftImg8bit.png")
    mask(tmp_path / "gtFine" / "a_gtFine_labelIds.png")
    picture(tmp_path / "gtFine" / "a_gtFine_color.png")
    assert len(read_index(str(tmp_path))) == 1


def test_pictures_may_lie_elsewhere(tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "a.jpg")
    mask(tmp_path / "set" / "masks" / "a.png")
    found = read_index(str(tmp_path / "set"), format="masks", images=str(tmp_path / "photos"))
    assert len(found) == 1


# ---- what values mean ----------------------------------------------------------------------------------------------


def test_without_a_file_ids_are_classes_and_255_is_ignored(root: Path) -> None:
    found = read_index(str(root))
    assert found.classes == ("background", "class 1", "class 2")
    assert maps(found) == [[[0, 0, 1, 1], [2, 2, 255, 1]]] * 3
    assert found.area is not None
    assert found.area[:3].tolist() == [2, 3, 2]
    assert found.pixel_counts().tolist() == [6, 9, 6]
    assert any(block.title == "Pixels of each class" for block in stats({"train": found}))


def test_data_classes_names_them(root: Path) -> None:
    assert read_index(str(root), classes=["road", "sky", "car"]).classes == ("road", "sky", "car")
    with pytest.raises(DataError, match="value 2, which no class has"):
        read_index(str(root), classes=["road", "sky"])


@pytest.mark.parametrize(("high", "names"), [(255, ("background", "foreground")), (1, ("background", "class 1"))])
def test_two_values(tmp_path: Path, high: int, names: tuple[str, ...]) -> None:
    picture(tmp_path / "images" / "a.png")
    mask(tmp_path / "masks" / "a.png", np.array([[0, 0, high, high]] * 2, np.uint8))
    found = read_index(str(tmp_path))
    assert found.classes == names
    assert maps(found) == [[[0, 0, 1, 1]] * 2]


def test_classes_csv_merges_and_ignores(root: Path) -> None:
    (root / "classes.csv").write_text("value,class\n0,land\n1,water\n2,water\n255,ignore\n", encoding="utf-8")
    found = read_index(str(root))
    assert found.classes == ("land", "water")
    assert maps(found) == [[[0, 0, 1, 1], [1, 1, 255, 1]]] * 3


def test_all_other_ids_may_be_one_class(root: Path) -> None:
    mask(root / "masks" / "p0.png", np.array([[0, 0, 700, 9], [3, 3, 4, 5]], np.uint16))
    (root / "masks" / "classes.csv").write_text("value,class\n0,background\n*,nucleus\n", encoding="utf-8")
    found = read_index(str(root))
    assert found.classes == ("background", "nucleus")
    assert maps(found)[0] == [[0, 0, 1, 1], [1, 1, 1, 1]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.csv", "colour,class\n#ff0000,road\n#0000FF,sky\n#ffffff,\n"),
        ("class_dict.csv", "name,r,g,b\nroad,255,0,0\nsky,0,0,255\nignore,255,255,255\n"),
        (
            "labelmap.txt",
            "# label:color_rgb:parts:actions\nroad:255,0,0::\nsky:0,0,255::\nignored thing:255,255,255::\n",
        ),
    ],
)
def test_colours(root: Path, name: str, text: str) -> None:
    colours = np.array([[RED, RED, BLUE, BLUE], [RED, BLUE, WHITE, WHITE]], np.uint8)
    for n in range(3):
        mask(root / "masks" / f"p{n}.png", colours)
    (root / name).write_text(text, encoding="utf-8")
    found = read_index(str(root))
    assert found.classes[:2] == ("road", "sky")
    unknown = 2 if "thing" in text else 255
    assert maps(found)[0] == [[0, 0, 1, 1], [0, 1, unknown, unknown]]


def test_names_a_line(root: Path) -> None:
    (root / "classes.txt").write_text("land\nwater\nsky\n", encoding="utf-8")
    for n in range(3):
        mask(root / "masks" / f"p{n}.png", np.minimum(IDS, 2))
    assert read_index(str(root)).classes == ("land", "water", "sky")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "the columns are a, b"),
        ("value,class\nx,road\n", "classes.csv:2: 'x' is no value"),
        ("colour,class\n#ff,road\n", "is no colour"),
        ("value,class\n1,road\n1,sky\n", "1 has two classes"),
        ("value,class\n1,ignore\n", "names no class"),
        ("value,class\n1\n", "1 cells"),
    ],
)
def test_a_classes_file_that_is_wrong_is_told(root: Path, text: str, words: str) -> None:
    (root / "classes.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        read_index(str(root))


# ---- what is wrong -------------------------------------------------------------------------------------------------


def test_colours_that_nothing_names_are_listed(root: Path) -> None:
    mask(root / "masks" / "p0.png", np.array([[RED, RED, BLUE, RED]] * 2, np.uint8))
    with pytest.raises(DataError, match=r"#ff0000.*#0000ff(.|\n)*colour,class"):
        read_index(str(root))


def test_numbers_of_objects_are_not_taken_for_classes(root: Path) -> None:
    mask(root / "masks" / "p0.png", np.arange(100, dtype=np.uint8).reshape(2, 50))
    with pytest.raises(DataError, match="numbers of objects"):
        read_index(str(root))


def test_a_value_that_no_class_has_is_one_finding(root: Path) -> None:
    (root / "classes.csv").write_text("value,class\n0,land\n1,water\n2,sky\n255,ignore\n", encoding="utf-8")
    mask(root / "masks" / "p0.png", IDS + np.uint8(0) + (IDS == 2).astype(np.uint8) * 5)
    with pytest.raises(DataError, match=r"p0.png: the mask has the value 7, which no class has"):
        read_index(str(root))
    assert codes(root).count("unknown-class") == 1


def test_a_mask_of_another_size_is_an_error(root: Path) -> None:
    mask(root / "masks" / "p1.png", np.zeros((3, 4), np.uint8))
    report = check(read_splits(str(root), strict=False))
    assert [f.what for f in report.unusable] == ["the mask has 4 × 3 px, its picture 4 × 2"]


def test_a_mask_in_which_all_is_ignored_is_a_warning(root: Path) -> None:
    mask(root / "masks" / "p1.png", np.full((2, 4), 255, np.uint8))
    found = codes(root)
    assert found.count("all-ignored") == 1
    assert "no-label" not in found


def test_masks_in_which_nothing_is_known_are_one_error_that_stops_training(root: Path) -> None:
    (root / "classes.csv").write_text("value,class\n0,land\n1,water\n255,ignore\n", encoding="utf-8")
    for path in (root / "masks").iterdir():
        mask(path, np.full((2, 4), 255, np.uint8))
    report = check(read_splits(str(root), strict=False))
    assert [f.what for f in report.unusable] == [
        "every pixel of every mask is ignored: there is nothing to learn or to score"
    ]


def test_pictures_and_masks_alone_are_left_out_and_told(root: Path) -> None:
    picture(root / "images" / "alone.jpg")
    mask(root / "masks" / "lost.png")
    assert len(read_index(str(root))) == 3
    assert {"no-mask", "no-picture"} <= set(codes(root))


def test_a_second_picture_of_one_name_is_left_out_and_told(root: Path) -> None:
    picture(root / "images" / "p0.png")
    assert len(read_index(str(root))) == 3
    assert any("bare name of images/p0.jpg" in f.what for f in check(read_splits(str(root), strict=False)).findings)


def test_a_damaged_mask_and_two_for_one_picture_are_errors(root: Path) -> None:
    (root / "masks" / "p0.png").write_bytes((root / "masks" / "p1.png").read_bytes()[:40])
    mask(root / "masks" / "p2.tif")
    assert {"malformed", "duplicate-id"} <= set(codes(root))


def test_a_jpeg_that_was_a_mask_is_told(root: Path) -> None:
    noisy = np.arange(8, dtype=np.uint8).reshape(2, 4) * 30
    (root / "masks" / "p0.png").unlink()
    mask(root / "masks" / "p0.jpg", noisy)
    (root / "classes.csv").write_text("value,class\n0,a\n1,b\n2,c\n255,\n", encoding="utf-8")
    report = check(read_splits(str(root), strict=False))
    assert any("JPEG" in finding.what for finding in report.findings)


def test_what_a_jpeg_made_of_ids_is_never_taken_for_classes(root: Path) -> None:
    smooth = np.arange(8, dtype=np.uint8).reshape(2, 4) * 30
    (root / "masks" / "p0.png").unlink()
    mask(root / "masks" / "p0.jpg", smooth)
    found = read_splits(str(root), strict=False)["train"]
    assert found.classes == ("background", "class 1", "class 2")  # by those that are PNG
    assert [f.where for f in check({"train": found}).findings if "JPEG" in f.what] == [str(root / "masks" / "p0.jpg")]
    for n in (1, 2):
        (root / "masks" / f"p{n}.png").rename(root / "masks" / f"p{n}.jpg")
    with pytest.raises(DataError, match=r"p0.jpg are JPEGs, which change values[^!]*PNG"):
        read_index(str(root))


def test_a_jpeg_in_black_and_white_is_a_foreground(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png", (16, 16))
    mask(tmp_path / "masks" / "a.jpg", np.kron(np.array([[0, 255]], np.uint8), np.ones((16, 8), np.uint8)))
    assert read_index(str(tmp_path)).classes == ("background", "foreground")


def test_no_pair_at_all_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    mask(tmp_path / "masks" / "b.png")
    with pytest.raises(DataError, match="1 pictures and 1 masks, and no two of one name"):
        read_index(str(tmp_path), format="masks")


# ---- the way to other sets -----------------------------------------------------------------------------------------


def test_the_fingerprint_knows_every_pixel(root: Path) -> None:
    before = read_index(str(root)).fingerprint()
    changed = IDS.copy()
    changed[0, 0], changed[0, 3] = 1, 0  # as many of each class as before
    mask(root / "masks" / "p0.png", changed)
    assert read_index(str(root)).fingerprint() != before


def test_classes_are_renamed_merged_and_left_out_in_the_pixels(root: Path) -> None:
    splits = read_splits(str(root))
    merged = convert.remap(splits, {"class 2": "class 1"})["train"]
    assert maps(merged)[0] == [[0, 0, 1, 1], [1, 1, 255, 1]]
    kept = convert.keep(splits, without=["class 1"])[0]["train"]
    assert kept.classes == ("background", "class 2")
    assert maps(kept)[0] == [[0, 0, 255, 255], [1, 1, 255, 255]]
    turned = splits["train"].with_classes(["class 2", "class 1", "background"])
    assert maps(turned)[0] == [[2, 2, 1, 1], [0, 0, 255, 1]]


def test_sets_with_other_classes_leave_each_others_background_open(root: Path, tmp_path: Path) -> None:
    other = read_splits(str(root))["train"].subset([0])
    merged, _ = convert.merge([{"train": other}, convert.remap({"train": other}, {"class 1": "boat"})])
    both = merged["train"]
    assert both.classes == ("background", "class 1", "class 2", "boat")
    assert maps(both)[0] == [[255, 255, 1, 1], [2, 2, 255, 1]]


def test_it_becomes_coco_and_comes_back(root: Path, tmp_path: Path) -> None:
    splits = read_splits(str(root))
    losses = convert.write(splits, tmp_path / "coco", format="coco")
    assert [str(loss) for loss in losses] == ["3 pixels of which nothing is known, now background"]
    outlined = read_splits(str(tmp_path / "coco"))
    assert outlined["train"].classes == ("class 1", "class 2")
    convert.write(outlined, tmp_path / "back", format="masks")
    back = read_index(str(tmp_path / "back"))
    assert back.classes == ("background", "class 1", "class 2")
    assert maps(back)[0] == [[0, 0, 1, 1], [2, 2, 0, 1]]


def test_outlines_beside_masks_become_coco_too(root: Path, tmp_path: Path) -> None:
    splits = read_splits(str(root))
    convert.write(splits, tmp_path / "coco", format="coco")
    both, _ = convert.merge([splits, read_splits(str(tmp_path / "coco"))])
    convert.write(both, tmp_path / "both", format="coco")
    found = read_splits(str(tmp_path / "both"))["train"]
    assert len(found) == 6
    assert [found.annotations(n).segments for n in range(3, 6)] == [found.annotations(n).segments for n in range(3)]


def test_outlines_are_painted_in_their_order(root: Path, tmp_path: Path) -> None:
    outlines = [b"[[0, 0, 4, 0, 4, 1, 0, 1]]", b"[[3, 0, 4, 0, 4, 2, 3, 2]]"]
    index = assemble(root=str(root), source="", format="made", paths=["images/p0.jpg"], classes=["b", "a"],
                     image_row=np.array([0, 0]), class_id=np.array([0, 1]), segments=Segments.of(outlines))  # fmt: skip
    convert.write({"train": index}, tmp_path / "out", format="masks")
    assert maps(read_index(str(tmp_path / "out"))) == [[[1, 1, 1, 2], [0, 0, 0, 2]]]


def test_more_than_255_classes_are_written_in_16_bit(root: Path, tmp_path: Path) -> None:
    index = read_index(str(root)).with_classes(["background", "class 1", "class 2", *(f"x{n}" for n in range(300))])
    convert.write({"train": index}, tmp_path / "out", format="masks")
    found = read_index(str(tmp_path / "out"))
    assert len(found.classes) == 303
    assert found.annotations(0).mask is not None
    assert maps(found)[0] == [[0, 0, 1, 1], [2, 2, 65535, 1]]


def test_written_masks_have_a_palette_for_people(root: Path, tmp_path: Path) -> None:
    convert.write(read_splits(str(root)), tmp_path / "out", format="masks")
    with Image.open(tmp_path / "out" / "masks" / "p0.png") as written:
        assert written.mode == "P"
        assert np.asarray(written).tolist() == IDS.tolist()
    assert get("masks").detect(Place(str(tmp_path / "out"))) > 90


# ---- depths and arrays ---------------------------------------------------------------------------------------------


def arrays(folder: Path, *masks: np.ndarray, table: str = "") -> Path:
    """Whole numbers of 8 and 16 bit as PNG, all else as .npy."""
    for n, values in enumerate(masks):
        picture(folder / "images" / f"p{n}.png", (values.shape[0], values.shape[1]), seed=n)
        (folder / "masks").mkdir(exist_ok=True)
        if values.dtype in (np.uint8, np.uint16):
            mask(folder / "masks" / f"p{n}.png", values)
        else:
            np.save(folder / "masks" / f"p{n}.npy", values)
    if table:
        (folder / "classes.csv").write_text(table)
    return folder


DEEP = np.where(IDS == 255, 65535, IDS.astype(np.uint16)).astype(np.uint16)


@pytest.mark.parametrize("other", [IDS.astype(np.uint16), DEEP])
def test_masks_of_both_depths_ignore_the_highest_of_both(tmp_path: Path, other: np.ndarray) -> None:
    index = read_index(str(arrays(tmp_path, IDS, other)))
    assert index.classes == ("background", "class 1", "class 2")
    assert maps(index) == [IDS.tolist()] * 2
    named = read_index(str(tmp_path), classes=("road", "sky", "sea"))
    assert named.classes == ("road", "sky", "sea")
    assert maps(named) == [IDS.tolist()] * 2


def test_masks_of_16_bit_that_8_would_have_held_ignore_255_too(tmp_path: Path) -> None:
    index = read_index(str(arrays(tmp_path / "ids", IDS.astype(np.uint16))))
    assert index.classes == ("background", "class 1", "class 2")
    assert maps(index) == [IDS.tolist()]
    white = np.array([[0, 0, 255, 255]] * 2, np.uint16)
    assert read_index(str(arrays(tmp_path / "white", white))).classes == ("background", "foreground")
    wide = np.array([[0, 255, 300, 65535]] * 2, np.uint16)
    assert read_index(str(arrays(tmp_path / "wide", wide))).classes == ("background", "class 255", "class 300")


def test_black_and_white_of_both_depths_is_one_foreground(tmp_path: Path) -> None:
    white = np.array([[0, 0, 255, 255]] * 2, np.uint8)
    index = read_index(str(arrays(tmp_path, white, white.astype(np.uint16) * 257)))
    assert index.classes == ("background", "foreground")
    assert maps(index) == [[[0, 0, 1, 1]] * 2] * 2


def test_both_depths_with_more_classes_than_8_bit_holds_are_refused(tmp_path: Path) -> None:
    wide = DEEP.copy()
    wide[0, 0] = 300
    with pytest.raises(DataError, match=r"masks of 8 and of 16 bit, such as .*p1.png, and 255 may be"):
        read_index(str(arrays(tmp_path / "a", IDS, wide)))
    clear = np.where(IDS == 255, 0, IDS).astype(np.uint8)  # no 255 at all
    assert read_index(str(arrays(tmp_path / "b", clear, wide))).classes[-1] == "class 300"
    table = "value,class\n0,a\n1,b\n2,c\n300,d\n255,ignore\n65535,ignore\n"
    assert read_index(str(arrays(tmp_path / "c", IDS, wide, table=table))).classes == ("a", "b", "c", "d")


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint32, np.int64, ">i4", ">u8"])
def test_arrays_of_whole_numbers_are_ids(tmp_path: Path, dtype: str) -> None:
    index = read_index(str(arrays(tmp_path, IDS.astype(dtype))))
    assert index.classes == ("background", "class 1", "class 2")
    assert maps(index) == [IDS.tolist()]


def test_arrays_of_large_numbers_and_of_yes_and_no(tmp_path: Path) -> None:
    wide = read_index(str(arrays(tmp_path / "wide", np.where(IDS == 255, 65535, IDS.astype(np.int64) * 500))))
    assert wide.classes == ("background", "class 500", "class 1000")
    assert maps(wide) == [IDS.tolist()]
    yes = read_index(str(arrays(tmp_path / "bool", IDS == 1, IDS == 2)))
    assert yes.classes == ("background", "class 1")
    assert maps(yes) == [(n == IDS).astype(int).tolist() for n in (1, 2)]


@pytest.mark.parametrize("table", ["", "value,class\n0,a\n1,b\n2,c\n255,ignore\n"])
@pytest.mark.parametrize(
    ("values", "words"),
    [
        (IDS.astype(np.float32), "a mask of float32 says no class for each pixel.*whole numbers.*argmax"),
        (np.full((2, 4), np.nan), "a mask of float64"),
        (IDS.astype(complex), "a mask of complex128"),
        (np.where(IDS == 255, -1, IDS.astype(np.int64)), "has the value -1.*from 0 to 65535.*255"),
        (IDS.astype(np.int64) * 1000, "has the value 255000"),
        (np.zeros((2, 4, 7), np.int64), r"an array of shape \(2, 4, 7\) is no mask.*argmax"),
        (np.zeros((2, 4, 2, 1), bool), r"an array of shape \(2, 4, 2, 1\) is no mask"),
        (np.array([["a"] * 4] * 2), "says no class"),
    ],
)
def test_arrays_that_are_no_ids_are_told_by_name(tmp_path: Path, values: np.ndarray, words: str, table: str) -> None:
    with pytest.raises(DataError, match=f"(?s)p0.npy.*{words}"):
        read_index(str(arrays(tmp_path / "alone", values, table=table)))
    assert codes(arrays(tmp_path / "beside", values, IDS, table=table)).count("malformed") == 1
