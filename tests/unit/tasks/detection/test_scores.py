"""Figures against hand-worked values, intervals against explicit resamples and the truth, and what a report shows."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from tests.unit.tasks.detection.scenes import drawn, kept, said, samples, scored, truth

from espalier.blocks import Bars, Curve, Headline, Matrix, Table, to_json
from espalier.errors import DataError
from espalier.tasks import intervals
from espalier.tasks.detection import TASK
from espalier.tasks.detection.confidence import best_level
from espalier.tasks.detection.precision import RECALLS, _reached

A, B, C = (0, 0, 40, 40), (60, 0, 100, 40), (0, 60, 40, 100)
FAR = (200, 200, 240, 240)

# --- figures by hand


def test_average_precision_by_hand() -> None:
    """Right, wrong, right of two objects: precision 1 up to half of the recall (51 of 101 points), then 2/3."""
    found = scored([(said((A, 0, 0.9), (FAR, 0, 0.8), (B, 0, 0.7)), truth((A, 0), (B, 0)))], 1)
    assert found.main == "map"
    assert found.value == found.figures["ap50"].value == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert found.figures["precision"].value == pytest.approx(2 / 3)
    assert found.figures["recall"].value == 1
    assert found.figures["f1"].value == pytest.approx(0.8)
    assert found.figures["ar1"].value == 0.5
    assert found.figures["ar10"].value == 1
    assert "ap_small" not in found.figures
    assert found.figures["ap_medium"].value == found.value


def test_more_objects_of_a_class_than_count_are_told() -> None:
    many = [((4 * n, 0, 4 * n + 3, 3), 0) for n in range(101)]
    scenes = [(said((A, 0, 0.9)), truth(*many[:100], *[(box, 1) for box, _ in many])), (said(), truth(*many[:100]))]
    (caution,) = scored(scenes).cautions
    assert caution.startswith("1 of 2 pictures have more than 100 objects of a class")
    crowds = truth(*many, crowd=range(101)), truth(*many, crowd=[0])
    assert not scored([(said(), each) for each in crowds]).cautions  # crowds need not be found


def test_a_box_that_overlaps_by_six_tenths() -> None:
    """It counts at the thresholds 0.50, 0.55 and 0.60 of ten."""
    found = scored([(said(((0, 0, 40, 24), 0, 0.9)), truth((A, 0)))], 1)
    assert found.value == pytest.approx(0.3)
    assert (found.figures["ap50"].value, found.figures["ap75"].value) == pytest.approx((1, 0))


def test_a_crowd_takes_any_number_of_boxes_and_gives_nothing() -> None:
    crowd = (0, 0, 100, 40)
    scenes = [(said((A, 0, 0.9), (B, 0, 0.8), (C, 0, 0.7)), truth((crowd, 0), (C, 0), crowd=[0]))]
    found = scored(scenes, 1)
    assert found.value == pytest.approx(1)
    assert (found.figures["precision"].value, found.figures["recall"].value) == (1, 1)


def test_nothing_counts_in_an_ignored_region_nor_for_an_unlabelled_class() -> None:
    boxes = said((A, 0, 0.9), (FAR, 0, 0.95), (FAR, 1, 0.99))
    assert scored([(boxes, truth((A, 0), (B, 1)))]).figures["precision"].value == pytest.approx(1 / 3)
    assert scored([(boxes, truth((A, 0), (B, 1), ignored=[FAR]))]).figures["precision"].value == 1
    assert scored([(boxes, truth((A, 0), (B, 1), unlabelled=[1]))]).figures["precision"].value == pytest.approx(1 / 2)


def test_a_picture_of_the_background_counts() -> None:
    good = (said((A, 0, 0.5)), truth((A, 0)))
    assert scored([good, (said((A, 0, 0.9)), truth())], 1).value == pytest.approx(0.5)
    assert scored([good, (said(), truth())], 1).value == pytest.approx(1)


def test_no_boxes_and_no_objects() -> None:
    nothing = scored([(said(), truth((A, 0)))], 1, bootstrap=20)
    assert nothing.value == 0
    assert "precision" not in nothing.figures
    assert nothing.suggested == {}
    with pytest.raises(DataError, match="no labelled object"):
        scored([(said((A, 0, 0.9)), truth())])
    with pytest.raises(DataError, match="no labelled object"):
        TASK.metrics(["c0"]).compute()


def test_a_class_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="class 2 of 2"):
        scored([(said((A, 2, 0.9)), truth((A, 0)))])


def test_recalls_on_a_hundredth_are_counted_as_coco_counts() -> None:
    whole = np.arange(1, 130)
    recall = (np.arange(130)[:, None] / whole).clip(0, 1)
    np.testing.assert_array_equal(_reached(recall), np.searchsorted(RECALLS, recall, side="right"))


def test_the_suggested_threshold_is_the_middle_of_the_best_stretch() -> None:
    found = scored([(said((A, 0, 0.8), (FAR, 0, 0.4)), truth((A, 0)))], 1)
    assert found.suggested["threshold"].value == pytest.approx((0.41 + 0.80) / 2, abs=0.011)
    assert best_level(np.full(101, np.nan)) != best_level(np.full(101, np.nan))  # NaN: nothing to choose


def test_confusion_counts_right_wrong_missed_and_false_alarms() -> None:
    scenes = [(said((A, 0, 0.9), (B, 1, 0.8), (FAR, 1, 0.7), (C, 0, 0.1)), truth((A, 0), (B, 0), (C, 1)))]
    matrix = next(block for block in scored(scenes).blocks if isinstance(block, Matrix))
    assert matrix.rows == ["c0", "c1", "background"]
    assert matrix.counts == [[1, 1, 0], [0, 0, 1], [0, 1, 0]]


def test_many_classes_show_pairs_instead_of_a_matrix() -> None:
    found = scored([(said((A, 7, 0.9)), truth((A, 5)))], 60)
    pairs = next(block for block in found.blocks if isinstance(block, Table) and block.title == "Most confused")
    assert pairs.rows == [["c5", "c7", 1.0]]


# --- intervals


def test_resamples_equal_pictures_written_out() -> None:
    """Every figure of three resamples, each picture as often as it was drawn."""
    scenes = drawn(12, 2, seed=3)
    whole = kept(scenes)
    weights_NB = np.concatenate(list(whole.weights(n=3, seed=0, width=0)), axis=1)
    together = whole.figures(weights_NB)
    for column in range(3):
        rows = np.repeat(np.arange(12), weights_NB[:, column].astype(int))
        alone = kept([scenes[row] for row in rows]).figures(np.ones((12, 1)))[:, 0]
        np.testing.assert_allclose(together[:, column], alone, atol=1e-12)


def test_wide_and_narrow_chunks_agree() -> None:
    whole = kept(drawn(10, 2, seed=1))
    weights_NB = np.concatenate(list(whole.weights(n=50, seed=0, width=0)), axis=1)
    parts = [whole.figures(np.ascontiguousarray(part)) for part in np.split(weights_NB, 10, axis=1)]
    np.testing.assert_allclose(whole.figures(weights_NB), np.concatenate(parts, axis=1), atol=1e-12)


def test_a_picture_scored_twice_counts_once() -> None:
    metrics = TASK.metrics(["c0"])
    right, wrong = said((A, 0, 0.9)), said((FAR, 0, 0.9))
    one, other = samples([truth((A, 0)), truth((A, 0))])
    metrics.update([right, wrong, right], [one, one, other])
    found = metrics.compute()
    assert found.n == 2
    assert found.figures["recall"].value == pytest.approx((0.5 + 1) / 2)


def test_every_interval_holds_its_value_and_groups_widen_it() -> None:
    scenes = drawn(40, 2, seed=5)
    alone = scored(scenes, bootstrap=200)
    grouped = scored(scenes, bootstrap=200, groups=[f"g{i // 8}" for i in range(40)])
    for found in (alone, grouped):
        for figure in found.figures.values():
            assert figure.low is not None
            assert figure.high is not None
            assert 0 <= figure.low <= figure.value <= figure.high <= 1, figure
    assert alone.value == grouped.value
    assert "groups of pictures" in next(b for b in grouped.blocks if isinstance(b, Headline)).note


def test_a_perfect_score_has_an_honest_interval() -> None:
    found = scored([(said((A, 0, 0.9)), truth((A, 0)))] * 30, 1, bootstrap=100).figures["map"]
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(intervals.wilson(30, 30)[0])
    assert "Wilson" in found.note


@pytest.mark.slow
def test_intervals_cover_what_ever_more_pictures_would_give() -> None:
    """60 sets of 60 of 1,500 pictures; a plain percentile interval holds the figure of all in 60 to 75 % of them."""
    scenes = drawn(1500, 2, seed=8, boxes_each=10, crowd=0)
    whole = kept(scenes).mean_average_precision(np.ones((1500, 1)))[0, 0]
    rng, held = np.random.default_rng(0), 0
    for seed in range(60):
        part = kept([scenes[i] for i in rng.choice(1500, 60, replace=False)])
        value = part.mean_average_precision(np.ones((60, 1)))[0, 0]
        values = [part.mean_average_precision(w)[0] for w in part.weights(n=150, seed=seed, width=part.headline.width)]
        low, high = intervals.moved(np.concatenate(values), value)
        held += low <= whole <= high
    assert held / 60 >= 0.85


def test_a_thousand_resamples_are_quick() -> None:
    found = scored(drawn(250, 3, seed=0, boxes_each=50), 3)
    start = time.perf_counter()
    values = TASK.resample(found, n=1000, seed=0)
    assert time.perf_counter() - start < 4
    assert values.shape == (1000,)
    assert np.array_equal(TASK.resample(found, n=10, seed=0), values[:10])


# --- comparison


def test_compare_says_better_worse_and_cannot_tell() -> None:
    truths = [truth((A, 0), (B, 1))] * 60
    good = [(said((A, 0, 0.9), (B, 1, 0.8)), t) for t in truths]
    bad = [(said((A, 0, 0.9), *(((FAR, 1, 0.8),) if i % 2 else ((B, 1, 0.8),))), t) for i, t in enumerate(truths)]
    a, b = scored(bad), scored(good)
    up = TASK.compare(a, b, bootstrap=100, seed=0)
    assert (up.verdict, up.n) == ("better", 60)
    assert up.figure.value == pytest.approx(b.value - a.value)
    assert {m.kind for m in up.changed} == {"fewer mistakes"}
    assert len(up.changed) == 30
    assert up.changed[0].caption == "2 mistakes, now 0"
    down = TASK.compare(b, a, bootstrap=100, seed=0)
    assert down.verdict == "worse"
    assert all(m.wrong and m.kind == "more mistakes" for m in down.changed)
    same = TASK.compare(a, a, bootstrap=100, seed=0)
    assert (same.verdict, same.figure.value, list(same.changed)) == ("can't tell", 0, [])


def test_compare_pairs_by_name() -> None:
    scenes = drawn(20, 2, seed=2)
    a = scored(scenes)
    metrics = TASK.metrics(["c0", "c1"])
    metrics.update([p for p, _ in scenes[::-1]], samples([t for _, t in scenes])[::-1])
    found = TASK.compare(a, metrics.compute(), bootstrap=20, seed=0)
    assert found.figure.value == pytest.approx(0, abs=1e-12)
    assert found.n == 20


# --- the report


def test_blocks_are_json() -> None:
    found = scored(drawn(15, 2, seed=1), bootstrap=30)
    kinds = [type(block) for block in found.blocks]
    assert kinds == [Headline, Table, Table, Bars, Table, Matrix, Curve, Curve, Curve]
    for block in found.blocks:
        assert json.loads(json.dumps(to_json(block)))["kind"] == block.kind
