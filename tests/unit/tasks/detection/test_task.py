"""Labels, targets, predictions, the decoder, drawing, and what can be explained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.unit.tasks.detection.scenes import said, truth

from espalier.errors import DataError, ModelError, UsageError
from espalier.tasks import base
from espalier.tasks.base import Annotations, Answer
from espalier.tasks.detection import TASK, Detections
from espalier.vision import boxes
from espalier.vision.draw import colour_of
from espalier.vision.geometry import Geometry

CLASSES = ("cat", "dog")
A, B = (10, 20, 50, 60), (0, 0, 8, 8)

# --- labels and targets


def labels(*rows: tuple[Any, int], crowd: tuple[int, ...] = (), segments: tuple[Any, ...] = ()) -> Annotations:
    box = np.array([box or [np.nan] * 4 for box, _ in rows], np.float32).reshape(-1, 4)
    is_crowd = np.isin(np.arange(len(rows)), crowd)
    return Annotations(np.array([c for _, c in rows], np.int64), box, is_crowd, segments)


def test_labels_become_a_target() -> None:
    regions = np.array([[0, 0, 5, 5]], np.float32)
    given = labels((A, 0), (B, 1), (None, 1), crowd=(1,))
    found = TASK.sample(None, Annotations(given.class_id, given.box_xyxy, given.is_crowd, (), regions), CLASSES,
                        name="a.png", group="g").target  # fmt: skip
    assert found.box_xyxy.tolist() == [list(A), list(B)]
    assert found.is_crowd.tolist() == [False, True]
    assert found.area.tolist() == [1600, 64]
    assert found.unlabelled == (1,)
    assert found.ignored_xyxy.tolist() == [[0, 0, 5, 5]]


def test_an_outline_gives_the_area_and_the_box() -> None:
    triangle = [[0.0, 0.0, 10.0, 0.0, 0.0, 10.0]]
    found = TASK.sample(None, labels((A, 0), (None, 0), segments=(triangle, triangle)), CLASSES, name="", group="")
    assert found.target.area.tolist() == [50, 50]
    assert found.target.box_xyxy.tolist() == [list(A), [0, 0, 10, 10]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(A, 2)], r"a\.png: class id 2"),
        ([((5, 5, 1, 9), 0)], r"a\.png: the box \(5, 5, 1, 9\) is none"),
        ([((0, 0, np.inf, 9), 0)], "is none"),
    ],
)
def test_labels_that_are_none(rows: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        TASK.sample(None, labels(*rows), CLASSES, name="a.png", group="")


def test_targets_are_relative_to_the_valid_part() -> None:
    """A picture of 100 × 200 px shown at half its size in an input of 64 × 128."""
    geometry = Geometry((100, 200), (64, 128), (0.5, 0.5), (0.0, 0.0), (50, 100))
    sample = base.Sample(
        None, truth((A, 1), ((0, 0, 100, 100), 0), crowd=[1], ignored=[(150, 0, 300, 50)], unlabelled=[0])
    )
    found = TASK.targets(sample, geometry, CLASSES)
    assert found["class_N"].tolist() == [1]
    np.testing.assert_allclose(found["box_N4"], [[0.15, 0.4, 0.2, 0.4]], atol=1e-7)
    assert found["ignored_class_K"].tolist() == [0, -1]
    np.testing.assert_allclose(found["ignored_K4"], [[0.25, 0.5, 0.5, 1], [0.875, 0.25, 0.25, 0.5]], atol=1e-7)
    assert found["unlabelled_U"].tolist() == [0]
    assert set(TASK.ragged) == set(found)


def test_targets_are_cut_off_at_the_edge_and_dropped_outside() -> None:
    sample = base.Sample(None, truth((A, 0), (B, 1), ((20, 20, 20, 30), 1)))
    found = TASK.targets(sample, Geometry.crop((100, 100), top=40, left=30, size_hw=(40, 40)), CLASSES)
    assert found["class_N"].tolist() == [0]
    np.testing.assert_allclose(found["box_N4"], [[0.25, 0.25, 0.5, 0.5]])
    assert found["box_N4"].dtype == np.float32


def test_which_labels_fit() -> None:
    assert base.ranked(["box"])[0] == base.ranked(["label", "box"])[0] == "detection"
    assert base.ranked(["box", "polygon"])[:2] == base.ranked(["rle"])[:2] == ["instance", "detection"]
    assert "detection" not in base.ranked(["label"])


# --- predictions


@pytest.mark.parametrize(
    ("box", "score", "class_id"),
    [
        ([[0, 0, 1]], [0.5], [0]),
        ([[0, 0, 1, 1]], [0.5, 0.4], [0]),
        ([[0, 0, np.nan, 1]], [0.5], [0]),
        ([[2, 0, 1, 1]], [0.5], [0]),
        ([[0, 0, 1, 1]], [1.5], [0]),
        ([[0, 0, 1, 1]], [np.nan], [0]),
        ([[0, 0, 1, 1]], [0.5], [-1]),
    ],
)
def test_rows_that_are_none(box: Any, score: Any, class_id: Any) -> None:
    with pytest.raises(ValueError):
        Detections(np.array(box), np.array(score), np.array(class_id))


def test_slices_and_what_is_said() -> None:
    found = said((A, 0, 0.9), (B, 1, 0.2), (B, 0, 0.5), threshold=0.5)
    assert found[found.score > 0.5].class_id.tolist() == [0]
    assert found[1].score.tolist() == [np.float32(0.2)]
    assert len(found[:2]) == 2
    assert found.said.score.tolist() == [np.float32(0.9), 0.5]
    assert found[1:].threshold == 0.5


def test_records() -> None:
    found = said((A, 0, 0.9), (B, 1, 0.2), (B, 1, 0.5))
    assert TASK.rows(found, CLASSES)[1] == {"class": "dog", "score": 0.5, "x1": 0, "y1": 0, "x2": 8, "y2": 8}
    assert len(TASK.rows(found, CLASSES)) == 2
    assert TASK.to_json(found, CLASSES)["objects"][0] == {"class": "cat", "score": 0.9, "box_xyxy": [10, 20, 50, 60]}
    assert TASK.words(found, CLASSES) == "2 objects: cat 1, dog 1"
    assert TASK.words(said(), CLASSES) == "0 objects"
    assert TASK.rows(said(), CLASSES) == []


# --- the decoder


def decoded(logits: Any, box: Any, geometry: Geometry, **params: float) -> Detections:
    outputs = {"logits": np.float32([logits]), "boxes": np.float32([box])}
    found: Detections = TASK.decoder("detr_sigmoid", 1)(outputs, [geometry], CLASSES, params)[0]
    return found


def test_the_best_of_queries_and_classes() -> None:
    geometry = Geometry((100, 200), (64, 128), (0.5, 0.5), (0.0, 0.0), (50, 100))
    found = decoded([[0, 2], [-3, 1]], [[0.5, 0.5, 0.2, 0.2], [0.9, 0.1, 0.4, 0.4]], geometry, top=3, threshold=0.6)
    np.testing.assert_allclose(found.score, 1 / (1 + np.exp([-2.0, -1.0, 0.0])), rtol=1e-6)
    assert found.class_id.tolist() == [1, 1, 0]
    assert found.query is not None
    assert found.query.tolist() == [0, 1, 0]
    np.testing.assert_allclose(found.box_xyxy[:2], [[80, 40, 120, 60], [140, 0, 200, 30]], atol=1e-4)
    assert len(found.said) == 2


def test_boxes_are_cut_off_at_the_edges_unless_asked_otherwise() -> None:
    """As the published codes give them: corners of the picture's own size."""
    geometry = Geometry.identity((100, 200))
    over = [[5, -5]], [[0.1, 0.5, 0.4, 0.2]]
    np.testing.assert_allclose(decoded(*over, geometry, top=1).box_xyxy, [[0, 40, 60, 60]], atol=1e-4)
    np.testing.assert_allclose(decoded(*over, geometry, top=1, clip=False).box_xyxy, [[-20, 40, 60, 60]], atol=1e-4)


def test_a_target_comes_back_through_the_decoder() -> None:
    geometry = Geometry((90, 160), (64, 128), (0.4, 0.5), (0.0, 0.0), (45, 64))
    box = TASK.targets(base.Sample(None, truth((A, 0))), geometry, CLASSES)["box_N4"]
    np.testing.assert_allclose(decoded([[5, -5]], box, geometry, top=1).box_xyxy, [A], atol=1e-4)


@pytest.mark.parametrize(
    ("outputs", "params", "message"),
    [
        ({"logits": np.zeros((1, 2, 2))}, {}, "no output 'boxes'"),
        ({"logits": np.zeros((1, 2, 3)), "boxes": np.zeros((1, 2, 4))}, {}, "2 classes"),
        ({"logits": np.zeros((1, 2, 2)), "boxes": np.zeros((1, 3, 4))}, {}, "a box for each answer"),
        ({"logits": np.full((1, 2, 2), np.nan), "boxes": np.zeros((1, 2, 4))}, {}, "NaN"),
        ({"logits": np.zeros((1, 2, 2)), "boxes": np.zeros((1, 2, 4))}, {"top": 0}, "top"),
        ({"logits": np.zeros((1, 2, 2)), "boxes": np.zeros((1, 2, 4))}, {"threshold": 2}, "threshold"),
        ({"logits": np.zeros((1, 2, 2)), "boxes": np.zeros((1, 2, 4))}, {"clip": 1}, "clip"),
    ],
)
def test_a_bad_model_is_one_message(outputs: dict[str, NDArray[Any]], params: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        TASK.decoder("detr_sigmoid", 1)(outputs, [Geometry.identity((8, 8))], CLASSES, params)


# --- drawing


@pytest.mark.parametrize("shape", [(40, 60, 3), (700, 500, 1), (400, 400, 4), (330, 330, 7)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_draw_takes_every_kind_of_picture(shape: tuple[int, ...], dtype: type) -> None:
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    drawn = TASK.draw(image, said((A, 0, 0.9)), CLASSES, truth=truth((B, 1)))
    assert drawn.dtype == np.uint8
    assert drawn.shape[2] == 3


def test_boxes_that_are_said_and_objects_that_are_missed_are_drawn() -> None:
    black = np.zeros((400, 600, 3), np.uint8)
    found = said(((100, 100, 200, 200), 1, 0.9), ((300, 300, 350, 350), 0, 0.1))
    drawn = TASK.draw(black, found, CLASSES, truth=truth(((100, 100, 205, 200), 1), ((400, 50, 500, 150), 0)))
    assert tuple(drawn[199, 150]) == colour_of(1)
    assert not drawn[300:350, 300:350].any()
    edge = drawn[149, 400:500].max(axis=1)
    assert (edge == 255).any()
    assert (edge == 0).any()
    assert not TASK.draw(black, said(), CLASSES).any()


def test_a_crowd_of_boxes_has_a_list_instead_of_texts() -> None:
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 500, (80, 2))
    many = Detections(np.concatenate([start, start + 40], axis=1), rng.uniform(0.5, 1, 80), rng.integers(0, 2, 80))
    drawn = TASK.draw(np.zeros((600, 600, 3), np.uint8), many, CLASSES)
    assert np.abs(drawn[4, 4].astype(int) - colour_of(int(np.bincount(many.class_id).argmax()))).max() < 40


# --- explaining


def answer() -> Answer:
    outputs = {
        "logits": np.float32([[[2.0, -1], [0, 1], [-4, -4]]]),
        "boxes": np.float32([[[0.2, 0.2, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2], [0.5, 0.5, 1, 1]]]),
    }
    geometry = Geometry.identity((100, 100))
    return Answer(outputs, TASK.decoder("detr_sigmoid", 1)(outputs, [geometry], CLASSES, {})[0], geometry)


def test_a_box_is_explained_by_its_query_and_class() -> None:
    here = answer()
    (surest,) = TASK.explain_targets(here, [], CLASSES)
    assert surest.words == "box 0: 'cat', 88 %"
    assert surest.activation(here.outputs).tolist() == [2.0]
    assert surest.scores(here.outputs, [here.prediction])[0] == pytest.approx(1 / (1 + np.exp(-2)))
    dog, second = TASK.explain_targets(here, ["dog", "box 1"], CLASSES)
    assert dog.activation(here.outputs).tolist() == second.activation(here.outputs).tolist() == [1.0]


def test_a_word_asks_for_the_same_object_of_another_answer() -> None:
    here = answer()
    (surest,) = TASK.explain_targets(here, [], CLASSES)
    assert surest.asked == "cat@20:20"
    (again,) = TASK.explain_targets(here, [surest.asked], CLASSES)
    assert again.words == surest.words
    assert surest.same == "cat@10.0:10.0:30.0:30.0"
    (again,) = TASK.explain_targets(here, ["cat@11:9:31.5:30"], CLASSES)
    assert again.words == surest.words
    with pytest.raises(UsageError, match=r"overlaps it by 0.5 \(the nearest: 0.1"):
        TASK.explain_targets(here, ["cat@20:20:40:40"], CLASSES)
    dog, cat = TASK.explain_targets(here, ["@70:70", "cat@70:70"], CLASSES)
    assert (dog.asked, cat.asked) == ("@70:70", "cat@70:70")
    assert (dog.words, cat.words) == ("box 1: 'dog', 73 %", "box 2: 'cat', 50 %")
    with pytest.raises(UsageError, match="no box of this picture"):
        TASK.explain_targets(Answer(here.outputs, here.prediction[:2], here.geometry), ["cat@99:0"], CLASSES)


def test_another_query_may_say_it_on_a_changed_picture() -> None:
    here = answer()
    (surest,) = TASK.explain_targets(here, [], CLASSES)
    swapped = {name: array[:, [1, 0, 2]] for name, array in here.outputs.items()}
    assert surest.scores(swapped, [])[0] == pytest.approx(surest.scores(here.outputs, [])[0])
    gone = {"logits": np.full((1, 3, 2), -9.0), "boxes": here.outputs["boxes"]}
    assert surest.scores(gone, [])[0] < 0.001


@pytest.mark.parametrize("word", ["owl", "box 99", "7"])
def test_words_that_fit_nothing(word: str) -> None:
    with pytest.raises(UsageError, match="box 0"):
        TASK.explain_targets(answer(), [word], CLASSES)


def test_nothing_found_cannot_be_explained() -> None:
    here = answer()
    with pytest.raises(UsageError, match="no box at all"):
        TASK.explain_targets(Answer(here.outputs, Detections.none(), here.geometry), [], CLASSES)


def test_areas_are_those_of_the_boxes() -> None:
    np.testing.assert_array_equal(boxes.area(np.array([A])), truth((A, 0)).area)
