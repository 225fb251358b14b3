"""Figures, intervals and comparisons, against numbers that a reader can check in the head."""

from __future__ import annotations

import numpy as np
import pytest

from espalier.blocks import Figure, Matrix, Table
from espalier.errors import DataError
from espalier.tasks.base import Sample, Scores
from espalier.tasks.segmentation import TASK, SegmentMap
from espalier.tasks.segmentation.sample import SegmentationTarget
from espalier.vision.masks import encode_rle

CLASSES = ("background", "sky", "sea")


def truth_of(class_HW: list[list[int]], *, name: str = "a", group: str = "") -> Sample:
    """A sample whose labels paint that map; -1 is unknown."""
    values = np.array(class_HW)
    ids = [c for c in np.unique(values).tolist() if c >= 0]
    outlines = tuple(encode_rle(values == c) for c in ids)
    return Sample(None, SegmentationTarget(3, class_id=np.array(ids, np.int64), outline=outlines), name, group)


def said(class_HW: list[list[int]]) -> SegmentMap:
    return SegmentMap.of(np.array(class_HW, np.uint8))


def scores(pairs: list[tuple[SegmentMap, Sample]], *, bootstrap: int = 0) -> Scores:
    metrics = TASK.metrics(CLASSES)
    for prediction, sample in pairs:
        metrics.update([prediction], [sample])
    return metrics.compute(bootstrap=bootstrap, seed=1)


ONE = (said([[0, 0, 1, 1]]), truth_of([[0, 1, 1, -1]]))
"""Known: background right, sky said to be background, sky right."""


def test_figures_by_hand() -> None:
    found = scores([ONE]).figures
    assert found["miou"].value == pytest.approx((1 / 2 + 1 / 2) / 2)  # sea is neither there nor said
    assert found["mdice"].value == pytest.approx(2 / 3)
    assert found["pixel_accuracy"].value == pytest.approx(2 / 3)
    assert found["mean_accuracy"].value == pytest.approx((1 + 1 / 2) / 2)


def test_a_class_that_is_only_said_counts_as_0() -> None:
    found = scores([(said([[0, 2]]), truth_of([[0, 0]]))]).figures
    assert found["miou"].value == pytest.approx((1 / 2 + 0) / 2)


def test_classes_are_counted_over_all_pictures_before_they_are_divided() -> None:
    other = (said([[1, 1, 1, 1]]), truth_of([[1, 1, 1, 1]], name="b"))
    assert scores([ONE, other]).figures["miou"].value == pytest.approx((1 / 2 + 5 / 6) / 2)


def test_a_picture_scored_twice_counts_once() -> None:
    twice = scores([ONE, ONE, (said([[0]]), truth_of([[1]], name="b"))])
    once = scores([ONE, (said([[0]]), truth_of([[1]], name="b"))])
    assert twice.n == once.n == 2
    assert twice.figures["miou"].value == pytest.approx(once.figures["miou"].value)


def test_pictures_of_which_nothing_is_known_are_left_out() -> None:
    blank = (said([[0, 1]]), truth_of([[-1, -1]], name="blank"))
    assert scores([ONE, blank]).n == 1
    with pytest.raises(DataError, match="no picture with a labelled pixel"):
        scores([blank])


def test_blocks_say_the_classes_and_what_is_mixed_up() -> None:
    found = scores([ONE], bootstrap=20)
    table = next(block for block in found.blocks if isinstance(block, Table))
    assert [row[0] for row in table.rows] == list(CLASSES)
    assert isinstance(table.rows[1][2], Figure)
    assert table.rows[2][2] is None
    matrix = next(block for block in found.blocks if isinstance(block, Matrix))
    assert matrix.counts == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]


def many(right: float, *, seed: int, group: bool = False) -> list[tuple[SegmentMap, Sample]]:
    rng = np.random.default_rng(seed)
    pairs = []
    for n in range(30):
        truth = np.random.default_rng(n).integers(0, 3, (12, 12))
        answer = np.where(rng.random((12, 12)) < right, truth, (truth + 1) % 3)
        pairs.append(
            (said(answer.tolist()), truth_of(truth.tolist(), name=f"p{n}", group=f"g{n // 10}" if group else ""))
        )
    return pairs


def test_intervals_hold_the_value() -> None:
    alone, grouped = scores(many(0.8, seed=1), bootstrap=300), scores(many(0.8, seed=1, group=True), bootstrap=300)
    for found in (alone, grouped):
        figure = found.figures["miou"]
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value <= figure.high
    assert len(TASK.resample(alone, n=50, seed=3)) == 50


def test_intervals_resample_groups_as_wholes() -> None:
    """Three groups: one all wrong, two all right. Their pictures, resampled alone, would vary less."""
    pairs = [(said([[int(n < 10)]]), truth_of([[0]], name=f"p{n}", group=f"g{n // 10}")) for n in range(30)]
    alone = [(prediction, truth_of([[0]], name=sample.name)) for prediction, sample in pairs]
    wide, narrow = (scores(each, bootstrap=300).figures["pixel_accuracy"] for each in (pairs, alone))
    assert wide.value == pytest.approx(2 / 3)
    assert wide.low is not None
    assert wide.high is not None
    assert narrow.low is not None
    assert narrow.high is not None
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_a_rare_class_that_is_never_found_does_not_lift_the_interval() -> None:
    """Pictures of sky alone, all right, and one with sea, all wrong: a third, whatever is drawn."""
    pairs = [(said([[1, 1]]), truth_of([[1, 1]], name=f"p{n}")) for n in range(9)]
    found = scores([*pairs, (said([[0, 0]]), truth_of([[2, 2]], name="sea"))], bootstrap=200).figures["miou"]
    assert found.value == pytest.approx(1 / 3)
    assert found.high is None or found.high == pytest.approx(1 / 3)


def test_a_better_model_is_called_better_and_the_same_can_t_be_told() -> None:
    a, b = scores(many(0.7, seed=1)), scores(many(0.9, seed=2))
    found = TASK.compare(a, b, bootstrap=200, seed=0)
    assert found.verdict == "better"
    assert found.n == 30
    assert found.figure.value == pytest.approx(b.value - a.value)
    assert {mistake.kind for mistake in found.changed} == {"fewer mistakes"}
    assert TASK.compare(a, a, bootstrap=200, seed=0).verdict == "can't tell"


def test_the_worst_pictures_come_first_and_say_what_is_mixed_up() -> None:
    good = (said([[0, 1, 1, 2]]), truth_of([[0, 1, 1, 1]]))
    bad = (said([[2, 2, 2, 1]]), truth_of([[0, 1, 1, 1]], name="b"))
    right = (said([[0]]), truth_of([[0]], name="c"))
    found = TASK.mistakes([p for p, _ in (good, bad, right)], [s for _, s in (good, bad, right)], CLASSES)
    worst = [mistake for mistake in found if mistake.kind == "most pixels wrong"]
    assert [mistake.index for mistake in worst] == [1, 0]
    assert worst[0].caption == "75.0 % of pixels wrong; sky said to be sea: 50.0 %"


def test_scores_of_many_classes_stay_small() -> None:
    classes = [f"c{n}" for n in range(300)]
    metrics = TASK.metrics(classes)
    values = np.arange(300, dtype=np.uint16).reshape(15, 20)
    metrics.add(values, values, "a", "")
    kept = metrics.kept()
    assert kept.counts.nnz <= 4 * 300
    assert metrics.compute().figures["miou"].value == 1
