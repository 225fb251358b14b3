"""From labels to targets, from raw outputs to what is said, drawn, written and explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from espalier.errors import DataError, ModelError, UsageError
from espalier.tasks import base
from espalier.tasks.base import Annotations, Answer, Covering, ImageQuery, Located, Sample, Tiled
from espalier.tasks.segmentation import TASK, SegmentMap
from espalier.tasks.written import Annotating
from espalier.vision.geometry import Geometry
from espalier.vision.mask_file import IGNORE, MaskFile, MaskValues
from espalier.vision.tiling import Tiling, Window

CLASSES = ("background", "sky", "sea")
SQUARE = [[2, 2, 8, 2, 8, 8, 2, 8]]
BELOW = [[5, 5, 10, 5, 10, 10, 5, 10]]


def labels(
    outlines: list[Any], class_id: list[int], *, boxes: list[list[float]] | None = None, **more: Any
) -> Annotations:
    box = np.full((len(class_id), 4), np.nan, np.float32) if boxes is None else np.array(boxes, np.float32)
    return Annotations(np.array(class_id, np.int64), box, np.zeros(len(class_id), bool), outlines, **more)


def sample(annotations: Annotations, classes: tuple[str, ...] = CLASSES, size_hw: tuple[int, int] = (12, 12)) -> Sample:
    return TASK.sample(ImageQuery(np.zeros((*size_hw, 3), np.uint8)), annotations, classes, name="a.png", group="")


def shown(annotations: Annotations, classes: tuple[str, ...] = CLASSES) -> np.ndarray:
    return TASK.targets(sample(annotations, classes), Geometry.identity((12, 12)), classes)["class_HW"]


# ---- labels --------------------------------------------------------------------------------------------------------


def test_it_offers_what_the_house_asks_for() -> None:
    for offer in (Located, Tiled, Annotating, Covering):
        assert isinstance(TASK, offer)
    assert TASK.fits(frozenset({"mask"})) > base.get("instance").fits(frozenset({"mask"}))
    outlines = frozenset({"box", "polygon"})
    assert base.ranked(outlines)[0] == "instance"
    assert "segmentation" in base.ranked(outlines)


def test_outlines_are_painted_in_their_order_and_background_is_under_them() -> None:
    found = shown(labels([SQUARE, BELOW], [1, 2]))
    assert found.dtype == np.int64
    assert found[3, 3] == 1
    assert found[6, 6] == 2
    assert found[0, 0] == 0
    assert shown(labels([BELOW, SQUARE], [2, 1]))[6, 6] == 1


def test_without_a_background_what_is_not_covered_is_unknown() -> None:
    found = shown(labels([SQUARE], [0]), ("sky", "sea"))
    assert found[0, 0] == -1
    assert found[3, 3] == 0


def test_a_picture_that_was_not_labelled_for_all_says_nothing_of_what_is_not_covered() -> None:
    assert shown(labels([SQUARE], [1], unlabelled=(2,)))[0, 0] == -1
    assert shown(labels([SQUARE], [1], unlabelled=(0,)))[0, 0] == 0  # labelled for all that are objects


def test_ignored_regions_and_objects_without_an_outline_are_unknown() -> None:
    found = shown(labels([None, SQUARE], [2, 1], boxes=[[0, 0, 4, 4], [2, 2, 8, 8]],
                         ignored_xyxy=np.array([[9, 9, 12, 12]], np.float32)))  # fmt: skip
    assert found[1, 1] == -1
    assert found[3, 3] == 1
    assert found[10, 10] == -1
    assert found[10, 1] == 0


def test_rle_and_polygon_paint_the_same() -> None:
    from espalier.vision.masks import encode_rle, polygons_to_mask

    run_lengths = encode_rle(polygons_to_mask(SQUARE, (12, 12)))
    geometry = Geometry.flip((12, 12), horizontal=True)
    one, other = (TASK.targets(sample(labels([o], [1])), geometry, CLASSES)["class_HW"] for o in (SQUARE, run_lengths))
    assert one.tolist() == other.tolist()
    assert sample(labels([SQUARE], [1])).target.class_map((12, 12))[3, 3] == 1


def masked(tmp_path: Path, values: list[list[int]], **more: Any) -> Annotations:
    pixels = np.array(values, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "m.png")
    table = MaskValues(((0, 0), (1, 1), (2, 2), (255, IGNORE)), 3)
    mask = MaskFile(str(tmp_path / "m.png"), (int(pixels.shape[0]), int(pixels.shape[1])), table)
    return labels([], [], mask=mask, **more)


def test_a_mask_is_read_through_the_geometry(tmp_path: Path) -> None:
    annotations = masked(tmp_path, [[1, 2], [255, 0]])
    one = sample(annotations, size_hw=(2, 2))
    geometry = Geometry.stretch((2, 2), (4, 4)).then(Geometry.pad((4, 4), (4, 6)))
    found = TASK.targets(one, geometry, CLASSES)["class_HW"]
    assert found.tolist() == [[1, 1, 2, 2, -1, -1]] * 2 + [[-1, -1, 0, 0, -1, -1]] * 2
    assert one.target.class_map((2, 2)).tolist() == [[1, 2], [255, 0]]


def test_background_of_a_mask_is_unknown_where_not_all_was_labelled(tmp_path: Path) -> None:
    one = sample(masked(tmp_path, [[1, 0]], unlabelled=(2,)), size_hw=(1, 2))
    assert one.target.class_map((1, 2)).tolist() == [[1, 255]]
    assert one.target.input_map(Geometry.identity((1, 2))).tolist() == [[1, -1]]


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        (labels([SQUARE], [7]), "class id 7"),
        (labels([[[1, 1, 2]]], [1]), "three points"),
        (labels([[[]]], [1]), "three points"),
        (labels([{"size": [5, 5], "counts": [25]}], [1]), "5 × 5 px, its picture 12 × 12"),
    ],
)
def test_labels_that_are_none_of_the_picture_are_refused(annotations: Annotations, words: str) -> None:
    with pytest.raises(DataError, match=words):
        sample(annotations)


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 × 1 px, its picture 12 × 12"):
        sample(masked(tmp_path, [[1, 2]]))


def test_a_mosaic_keeps_each_part_and_a_tile_its_own() -> None:
    left = np.array([[1, -1]])
    right = np.array([[-1, 0]])
    assert TASK.merged([{"class_HW": left}, {"class_HW": right}])["class_HW"].tolist() == [[1, 0]]
    tile = TASK.inside(sample(labels([SQUARE], [1])), Window(0, 0, 6, 12))
    assert (tile.target.class_map((12, 12))[6:] == 255).all()
    found = TASK.targets(tile, Geometry.identity((12, 12)), CLASSES)["class_HW"]
    assert (found[6:] == -1).all()
    assert found[3, 3] == 1


# ---- answers -------------------------------------------------------------------------------------------------------


def outputs(class_HW: np.ndarray) -> dict[str, np.ndarray]:
    """Raw outputs that say so, with logits of a quarter the size."""
    small = class_HW[2::4, 2::4]
    logits = np.where(np.arange(3)[:, None, None] == small, 2.0, 0.0).astype(np.float32)
    return {"class": class_HW[None].astype(np.uint8), "logits": logits[None]}


def blocks(size: int = 16) -> np.ndarray:
    class_HW = np.zeros((size, size), np.int64)
    class_HW[:8, 8:] = 1
    class_HW[8:] = 2
    return class_HW


def decoded(geometry: Geometry, **params: object) -> SegmentMap:
    found = TASK.decoder("segmentation_class", 1)(outputs(blocks()), [geometry], CLASSES, params)[0]
    assert isinstance(found, SegmentMap)
    return found


def test_the_decoder_gives_the_source_its_classes() -> None:
    letterbox = Geometry.stretch((8, 4), (16, 8)).then(Geometry.pad((16, 8), (16, 16)))
    found = decoded(letterbox).class_HW
    assert found.shape == (8, 4)
    assert found.dtype == np.uint8
    assert found.tolist() == [[0] * 4] * 4 + [[2] * 4] * 4
    assert (decoded(Geometry.identity((16, 16)), exact=True).class_HW == blocks()).mean() > 0.8


def test_how_sure_it_is_is_the_mean_softmax() -> None:
    sure = decoded(Geometry.identity((16, 16))).sure_C
    assert sure is not None
    assert sure.tolist() == pytest.approx([np.exp(2) / (np.exp(2) + 2)] * 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"logits": np.zeros((1, 2, 4, 4), np.float32)}, "logits"),
        ({"class": np.zeros((1, 8, 8), np.uint8)}, "class"),
        ({"class": np.zeros((1, 16, 16), np.float32)}, "whole numbers"),
        ({"class": np.full((1, 16, 16), 3, np.uint8)}, "holds 3"),
        ({"logits": np.full((1, 3, 4, 4), np.nan, np.float32)}, "NaN"),
    ],
)
def test_outputs_that_are_none_are_refused(changes: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        TASK.decoder("segmentation_class", 1)(
            {**outputs(blocks()), **changes}, [Geometry.identity((16, 16))], CLASSES, {}
        )


def test_more_than_255_classes_are_16_bit() -> None:
    classes = [f"c{n}" for n in range(300)]
    raw: dict[str, Any] = {"class": np.full((1, 4, 4), 299, np.uint16), "logits": np.zeros((1, 300, 1, 1), np.float32)}
    found = TASK.decoder("segmentation_class", 1)(raw, [Geometry.identity((4, 4))], classes, {})[0]
    assert found.class_HW.dtype == np.uint16
    assert int(found.class_HW.max()) == 299


def test_tiles_meet_midway_and_one_tile_is_itself() -> None:
    tiles = Tiling(32, 0.5).tiles((32, 48))
    said = [SegmentMap.of(np.full((32, 32), n + 1, np.uint8)) for n in range(len(tiles))]
    found = TASK.joined(said, [tile.window for tile in tiles], (32, 48), {})
    assert found.class_HW[0].tolist() == [1] * 24 + [2] * 24
    assert TASK.joined(said[:1], [tiles[0].window], (32, 32), {}) is said[0]


def test_tiles_of_a_map_give_the_map_back() -> None:
    whole = np.random.default_rng(0).integers(0, 3, (70, 101)).astype(np.uint8)
    tiles = Tiling(32, 0.25).tiles((70, 101))
    said = [SegmentMap.of(tile.window.of(whole)) for tile in tiles]
    assert (TASK.joined(said, [tile.window for tile in tiles], (70, 101), {}).class_HW == whole).all()


def test_words_rows_and_json_add_up() -> None:
    said = SegmentMap.of(blocks().astype(np.uint8))
    assert TASK.words(said, CLASSES) == "sea 50 %, background 25 %, sky 25 %"
    assert [(row["class"], row["pixels"]) for row in TASK.rows(said, CLASSES)] == [
        ("sea", 128), ("background", 64), ("sky", 64)]  # fmt: skip
    found = TASK.to_json(said, CLASSES)
    assert found["width"] == 16
    assert sum(one["share"] for one in found["classes"]) == pytest.approx(1)
    assert sorted(zip(*[iter(found["classes"][2]["polygons"][0])] * 2, strict=True)) == [
        (8, 0),
        (8, 8),
        (16, 0),
        (16, 8),
    ]


def test_what_is_said_as_labels_paints_the_same_map() -> None:
    said = SegmentMap.of(blocks().astype(np.uint8))
    found = TASK.annotations(said, CLASSES)
    assert found.annotations.class_id.tolist() == [1, 2]
    assert found.annotations.box_xyxy.tolist() == [[8, 0, 16, 8], [0, 8, 16, 16]]
    again = TASK.sample(None, found.annotations, CLASSES, name="", group="")
    assert (again.target.class_map((16, 16)) == blocks()).all()


def test_a_map_must_be_one_and_is_kept_small() -> None:
    with pytest.raises(ValueError, match="class map"):
        SegmentMap.of(np.zeros((2, 2)))
    assert SegmentMap.of(np.zeros((500, 500), np.uint8)).packed.nbytes < 2000


def test_drawing_stripes_what_is_wrong_and_leaves_the_unknown_plain() -> None:
    grey = np.full((16, 16, 3), 100, np.uint8)
    said = SegmentMap.of(blocks().astype(np.uint8))
    truth = sample(labels([], []), size_hw=(16, 16)).target
    plain, wrong = TASK.draw(grey, said, CLASSES), TASK.draw(grey, said, CLASSES, truth=truth)
    assert plain.dtype == np.uint8
    assert plain.shape == wrong.shape == (320, 320, 3)
    assert plain[200, 10].tolist() != [100] * 3
    assert plain[140, 60].tolist() == [100] * 3  # background
    assert len({tuple(pixel) for pixel in wrong[250:300, 100:150].reshape(-1, 3).tolist()}) > 1
    unknown = sample(labels([], []), ("sky", "sea", "land"), size_hw=(16, 16)).target
    assert TASK.draw(grey, said, CLASSES, truth=unknown)[250, 120].tolist() == [100] * 3


# ---- explained -----------------------------------------------------------------------------------------------------


def answer() -> Answer:
    geometry = Geometry.identity((16, 16))
    return Answer(outputs(blocks()), decoded(geometry), geometry)


def test_a_class_and_a_pixel_can_be_explained() -> None:
    raw = answer()
    sea, pixel, named = TASK.explain_targets(raw, ["sea", "12,3", "sea@12:3"], CLASSES)
    sure = np.exp(2) / (np.exp(2) + 2)
    assert sea.scores(raw.outputs, [raw.prediction]).tolist() == pytest.approx([sure])
    assert sea.activation(raw.outputs).tolist() == [2.0]
    assert pixel.words == "'sky' at pixel 12, 3"
    assert pixel.same == "sky@12:3"
    assert pixel.scores(raw.outputs, []).tolist() == pytest.approx([sure])
    assert named.scores(raw.outputs, []).tolist() == pytest.approx([1 / (np.exp(2) + 2)])
    assert TASK.explain_targets(raw, [], CLASSES)[0].asked == "sea"


@pytest.mark.parametrize(("word", "words"), [("99,1", "not in the picture"), ("mountain", "explained"), ("x@1:1", "x")])
def test_a_word_that_fits_nothing_is_refused(word: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        TASK.explain_targets(answer(), [word], CLASSES)
