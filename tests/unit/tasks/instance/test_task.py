"""Labels with outlines, the arrays of a loss, predictions, the decoder, drawing."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.unit.tasks.instance.scenes import SIZE, ellipse, said, samples, truth

from espalier.errors import DataError, ModelError
from espalier.tasks.base import Annotations, ImageQuery, Located, Sample
from espalier.tasks.instance import TASK, Instances
from espalier.vision.geometry import Geometry
from espalier.vision.masks import decode_rle, encode_rle, polygons_to_mask
from espalier.vision.tiling import Window

CLASSES = ("cat", "dog")
SQUARE = [[20.0, 20, 60, 20, 60, 80, 20, 80]]
RING = np.zeros(SIZE, bool)
RING[10:60, 10:60] = True
RING[25:45, 25:45] = False


def sampled(*rows: tuple[Any, Any, int], size_hw: tuple[int, int] = SIZE) -> Sample:
    """Of labels (box or None, outline or None, class)."""
    box = np.array([box or [np.nan] * 4 for box, _, _ in rows], np.float32).reshape(-1, 4)
    ids = np.array([c for *_, c in rows], np.int64)
    labels = Annotations(ids, box, np.zeros(len(rows), bool), [outline for _, outline, _ in rows])
    return TASK.sample(ImageQuery(np.zeros((*size_hw, 3), np.uint8)), labels, CLASSES, name="a.png", group="")


# --- labels and targets


def test_labels_keep_their_outlines_in_order() -> None:
    found = sampled(((1, 1, 9, 9), None, 0), (None, None, 1), (None, SQUARE, 1), (None, encode_rle(RING), 0)).target
    assert found.class_id.tolist() == [0, 1, 0]
    assert found.has_outline.tolist() == [False, True, True]
    assert found.box_xyxy.tolist() == [[1, 1, 9, 9], [20, 20, 60, 80], [10, 10, 60, 60]]
    assert found.area.tolist() == [64, 2400, RING.sum()]
    assert found.unlabelled == (1,)


@pytest.mark.parametrize(
    ("outline", "message"),
    [
        (encode_rle(np.ones((4, 5), bool)), r"a\.png: a mask has 5 × 4 px"),
        ({"size": list(SIZE), "counts": [5]}, "add up"),
        ([[0.0, 0, 5000, 0, 0, 5000]], r"a\.png: a polygon lies far outside"),
        ([[0.0, 0, 5, 0]], "three points"),
    ],
)
def test_outlines_that_are_none(outline: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        sampled(((0, 0, 5, 5), outline, 0))


@pytest.mark.parametrize("compressed", [True, False])
def test_masks_of_the_input_are_in_the_order_of_the_boxes(compressed: bool) -> None:
    """The picture at half its size, mirrored; the crowd and what lies outside have no row."""
    geometry = Geometry.stretch(SIZE, (60, 80)).then(Geometry.flip((60, 80), horizontal=True))
    outside = [[200.0, 10, 210, 10, 210, 20]]
    rle = encode_rle(RING, compressed=compressed)
    sample = Sample(None, truth((SQUARE, 0), (outside, 1), (rle, 1), ((70, 70, 90, 110), 0), (SQUARE, 0), crowd=[4]))
    found = TASK.targets(sample, geometry, CLASSES)
    assert found["class_N"].tolist() == [0, 1, 0]
    assert found["masked_N"].tolist() == [True, True, False]
    assert found["mask_NHW"].shape == (3, 60, 80)
    assert found["mask_NHW"].dtype == np.uint8
    for mask_HW, box in zip(found["mask_NHW"][:2], found["box_N4"][:2], strict=True):
        rows, columns = np.nonzero(mask_HW)
        edges = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        wanted = np.concatenate([box[:2] - box[2:] / 2, box[:2] + box[2:] / 2]) * (80, 60, 80, 60)
        np.testing.assert_allclose(edges, wanted, atol=1)
    assert (found["mask_NHW"][1] == RING[1::2, 1::2][:, ::-1]).all()
    assert set(TASK.ragged) == set(found)


def test_several_pictures_make_one() -> None:
    assert isinstance(TASK, Located)
    size = (64, 64)
    left = Geometry.stretch(SIZE, size).then(Geometry.crop(size, top=0, left=0, size_hw=size))
    parts = [TASK.targets(Sample(None, truth(*rows)), left, CLASSES) for rows in ([(SQUARE, 0)], [], [(SQUARE, 1)] * 2)]
    found = TASK.merged(parts)
    assert found["mask_NHW"].shape == (3, 64, 64)
    assert found["class_N"].tolist() == [0, 1, 1]
    assert found["masked_N"].all()


def test_what_a_crop_hardly_shows_is_not_asked_for() -> None:
    geometry = Geometry.crop(SIZE, top=0, left=55, size_hw=(100, 100))
    sample = TASK.cut(Sample(None, truth((SQUARE, 0), (ellipse(90, 50, 20, 30), 1))), geometry, min_visible=0.3)
    found = TASK.targets(sample, geometry, CLASSES)
    assert found["class_N"].tolist() == [1]
    assert found["mask_NHW"].sum() == pytest.approx(np.pi * 20 * 30, rel=0.05)
    assert found["ignored_class_K"].tolist() == [0]


def test_a_picture_without_objects() -> None:
    found = TASK.targets(sampled(), Geometry.identity(SIZE), CLASSES)
    assert found["mask_NHW"].shape == (0, *SIZE)


def test_which_labels_fit() -> None:
    assert TASK.fits(frozenset({"box"})) == 0
    for kinds in ({"box", "polygon"}, {"rle"}, {"label", "mask"}):
        assert TASK.fits(frozenset(kinds)) > 20


# --- predictions


def test_masks_are_rows_like_any_other() -> None:
    found = said((SQUARE, 0, 0.9), (None, 1, 0.2), (ellipse(100, 60, 10, 20), 1, 0.5))
    assert found[found.score > 0.4].area().tolist() == [found.area()[0], found.area()[2]]
    assert found.said.mask[1] == found.mask[2]
    assert found.area()[1] == 0
    assert len(Instances.none()) == 0
    for mask in ([None], ["x", None, None]):
        with pytest.raises(ValueError, match="masks"):
            Instances(found.box_xyxy, found.score, found.class_id, mask=mask)


def test_records_hold_the_very_mask() -> None:
    found = said((SQUARE, 0, 0.9), (None, 1, 0.2), (None, 1, 0.5))
    rows = TASK.rows(found, CLASSES)
    assert [row["class"] for row in rows] == ["cat", "dog"]
    assert (decode_rle(json.loads(rows[0]["rle"])) == polygons_to_mask(SQUARE, SIZE)).all()
    assert rows[0]["area_px"] == 2400
    assert rows[1]["rle"] == ""
    first, second = TASK.to_json(found, CLASSES)["objects"]
    assert json.loads(json.dumps(first))["rle"] == found.mask[0]
    assert (polygons_to_mask(first["polygons"], SIZE) == polygons_to_mask(SQUARE, SIZE)).all()
    assert second["rle"] is None
    assert second["polygons"] == []
    assert TASK.words(found, CLASSES) == "2 objects: cat 1, dog 1"


def test_what_is_said_can_be_labels() -> None:
    found = said((SQUARE, 0, 0.9), (SQUARE, 1, 0.1))
    labels = TASK.annotations(found, CLASSES).annotations
    assert list(labels.segments) == [found.mask[0]]
    again = TASK.sample(ImageQuery(np.zeros((*SIZE, 3), np.uint8)), labels, CLASSES, name="", group="")
    assert again.target.has_outline.tolist() == [True]


# --- the decoder


def decoded(outputs: dict[str, NDArray[Any]], geometry: Geometry, **params: float) -> Instances:
    found: Instances = TASK.decoder("detr_masks", 1)(outputs, [geometry], CLASSES, params)[0]
    return found


def raw(sample: Sample, geometry: Geometry) -> dict[str, NDArray[Any]]:
    """What a perfect network gives: a channel of the map for each object, its share of each cell."""
    target = TASK.targets(sample, geometry, CLASSES)
    count = len(target["class_N"])
    height, width = geometry.input_hw[0] // 4, geometry.input_hw[1] // 4
    share = target["mask_NHW"].reshape(count, height, 4, width, 4).mean(axis=(2, 4))
    logits = np.where(np.arange(len(CLASSES)) == target["class_N"][:, None], 4.0, -4.0)
    logits -= 0.1 * np.arange(count)[:, None]
    return {
        "logits": logits[None].astype(np.float32),
        "boxes": target["box_N4"][None],
        "mask_kernels": np.eye(count, dtype=np.float32)[None] * 8,
        "mask_features": (share[None] - 0.5).astype(np.float32),
    }


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry.stretch(SIZE, (240, 320)),
        Geometry(SIZE, (320, 320), (2.0, 2.0), (0.0, 0.0), (240, 320)),
        Geometry.stretch(SIZE, (240, 320)).then(Geometry.flip((240, 320), horizontal=True, vertical=True)),
        Geometry.crop(SIZE, top=0, left=10, size_hw=(120, 140)).then(Geometry.stretch((120, 140), (240, 280))),
    ],
    ids=["stretched", "padded", "mirrored", "cut out"],
)
def test_a_target_comes_back_through_the_decoder(geometry: Geometry) -> None:
    given = truth((ellipse(50, 50, 25, 35), 0), (encode_rle(RING), 1), (SQUARE, 0))
    found = decoded(raw(Sample(None, given), geometry), geometry, top=3)
    assert found.class_id.tolist() == [0, 1, 0]
    for row, shape in enumerate([ellipse(50, 50, 25, 35), None, SQUARE]):
        wanted = RING if shape is None else polygons_to_mask(shape, SIZE)
        mask_HW = decode_rle(found.mask[row])
        assert (mask_HW & wanted).sum() / (mask_HW | wanted).sum() > 0.95


def test_a_query_has_one_mask_and_it_stays_by_its_box() -> None:
    geometry = Geometry.identity((64, 64))
    outputs = {
        "logits": np.float32([[[2, 1], [0, -9]]]),
        "boxes": np.float32([[[0.5, 0.5, 0.25, 0.25], [0.25, 0.25, 0.25, 0.25]]]),
        "mask_kernels": np.float32([[[1], [-1]]]),
        "mask_features": np.ones((1, 1, 16, 16), np.float32),
    }
    found = decoded(outputs, geometry, top=3)
    assert found.query is not None
    assert found.query.tolist() == [0, 0, 1]
    assert found.mask[0] is found.mask[1]
    assert found.area().tolist() == [24 * 24, 24 * 24, 0]  # a cell of 4 px around the box of 16
    assert decoded(outputs, geometry, top=1, mask_threshold=0.8).area().tolist() == [0]


def test_of_cells_that_mean_one_object_the_surest_draws_it() -> None:
    outputs = {
        "logits": np.float32([[[0, -9], [2, -9]]]),
        "boxes": np.float32([[[0.5, 0.5, 0.25, 0.25]] * 2]),
        "mask_kernels": np.float32([[[-1], [1]]]),
        "mask_features": np.ones((1, 1, 16, 16), np.float32),
    }
    decoder = TASK.decoder("dense_masks", 1)
    found: Instances = decoder(outputs, [Geometry.identity((64, 64))], CLASSES, {"candidates": 2})[0]
    assert found.query is not None
    assert (found.query.tolist(), found.area().tolist()) == ([1], [24 * 24])
    both: Instances = decoder(outputs, [Geometry.identity((64, 64))], CLASSES, {"candidates": 2, "overlap": 1})[0]
    assert both.area().tolist() == [24 * 24, 0]


@pytest.mark.parametrize(
    ("changes", "params", "message"),
    [
        ({"mask_kernels": np.zeros((1, 3, 4))}, {}, "a kernel for each answer"),
        ({"mask_features": np.zeros((1, 5, 8, 8))}, {}, "mask_features"),
        ({"mask_features": np.full((1, 4, 8, 8), np.nan)}, {}, "NaN"),
        ({}, {"mask_threshold": 1}, "mask_threshold"),
        ({}, {"top": 0}, "top"),
    ],
)
def test_a_bad_model_is_one_message(changes: dict[str, NDArray[Any]], params: dict[str, Any], message: str) -> None:
    good = {"logits": np.zeros((1, 2, 2)), "boxes": np.zeros((1, 2, 4)), "mask_kernels": np.zeros((1, 2, 4)),
            "mask_features": np.zeros((1, 4, 8, 8))}  # fmt: skip
    with pytest.raises(ModelError, match=message):
        TASK.decoder("detr_masks", 1)(good | changes, [Geometry.identity((32, 32))], CLASSES, params)


# --- drawing


@pytest.mark.parametrize("shape", [(*SIZE, 3), (*SIZE, 1), (*SIZE, 7)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_masks_are_tinted_and_what_is_missed_is_outlined(shape: tuple[int, ...], dtype: type) -> None:
    image = np.zeros(shape, dtype)
    found = said((SQUARE, 1, 0.9), (ellipse(120, 60, 20, 20), 0, 0.1))
    given = truth((SQUARE, 1), (ellipse(120, 60, 20, 20), 0), ((80, 5, 90, 15), 0))
    drawn = TASK.draw(image, found, CLASSES, truth=given)
    times = drawn.shape[0] // SIZE[0]
    inside, line = drawn[50 * times, 40 * times], drawn[50 * times, 20 * times]
    assert 0 < inside.max() < line.max()
    assert (drawn == 255).all(axis=2).any()
    assert not drawn[60 * times, 120 * times].any()
    plain = TASK.draw(image, found, CLASSES)
    assert not (plain == 255).all(axis=2).any()


def test_a_crowd_of_masks_has_a_list_instead_of_texts() -> None:
    many = said(*[(ellipse(10 + 15 * (n % 9), 10 + 15 * (n // 9), 5, 5), n % 2, 0.9) for n in range(54)])
    assert TASK.draw(np.zeros((*SIZE, 3), np.uint8), many, CLASSES).any()


def test_mistakes_are_told_by_masks() -> None:
    """A box that fits, around another shape: a poor location by masks."""
    corner = [[20.0, 20, 60, 20, 60, 26, 26, 26, 26, 80, 20, 80]]
    found = said((corner, 0, 0.9))
    (one,) = TASK.mistakes([found], samples([truth((SQUARE, 0))]), CLASSES)
    assert one.kind == "poor location"
    assert "overlaps by 24 %" in one.caption


# --- tiles


def test_masks_of_tiles_are_masks_of_the_picture() -> None:
    """An object on the line between two tiles is one, of both pieces; one that a tile sees whole is that tile's."""
    left, right = Window(0, 0, 120, 100), Window(0, 60, 120, 100)
    shapes = [ellipse(80, 60, 60, 20), ellipse(130, 20, 15, 10), ellipse(20, 100, 10, 10)]
    whole = truth(*((shape, 0) for shape in shapes))
    found = TASK.joined([_seen(whole, left), _seen(whole, right)], [left, right], SIZE, {"top": 10})
    assert len(found) == 3
    wide = found[int(np.argmax(found.area()))]
    assert (decode_rle(wide.mask[0]) == polygons_to_mask(shapes[0], SIZE)).all()
    assert sorted(found.area()) == sorted(int(polygons_to_mask(shape, SIZE).sum()) for shape in shapes)
    assert TASK.joined([found], [Window(0, 0, *SIZE)], SIZE, {}) is found


def _seen(whole: Any, window: Window) -> Instances:
    """A perfect answer for a tile, by the task's own targets."""
    geometry = window.geometry(SIZE)
    target = TASK.targets(TASK.inside(Sample(None, whole), window), geometry, CLASSES)
    box = target["box_N4"] * np.tile(window.size_hw[::-1], 2)
    box = np.concatenate([box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2], axis=1)
    masks = [encode_rle(mask_HW) for mask_HW in target["mask_NHW"]]
    return Instances(box, np.full(len(box), 0.9), target["class_N"], mask=masks)


def test_a_tile_shows_no_mask_beyond_its_edge() -> None:
    """Its place in a larger input shows what of the picture lies beyond the tile as something else."""
    window = Window(0, 30, 120, 20)
    sample = TASK.inside(Sample(None, truth((SQUARE, 0), (ellipse(130, 20, 15, 10), 0))), window)
    canvas = Geometry((120, 20), (120, 60), (1.0, 1.0), (20.0, 0.0), (120, 60))
    found = TASK.targets(sample, window.geometry(SIZE).then(canvas), CLASSES)["mask_NHW"]
    columns = np.flatnonzero(found[0].any(axis=0))
    assert len(found) == 1
    assert (columns.min(), columns.max()) == (20, 39)
