"""Classification: figures against hand-worked values and a plain loop, decoders, targets, comparison, pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from espalier.blocks import Curve, Headline, Matrix, Table, to_json
from espalier.errors import DataError, ModelError
from espalier.tasks import base
from espalier.tasks.base import Annotations, Sample, Scores
from espalier.tasks.classification import TASK, Classification, ClassificationTarget
from espalier.tasks.classification.several import average_precision
from espalier.vision.geometry import Geometry

CLASSES = ("cat", "dog", "owl")
HERE = Geometry.identity((4, 4))


def samples(truths: Sequence[Sequence[int]], groups: Sequence[str] = ()) -> list[Sample]:
    """One sample a truth, named by its place."""
    groups = groups or [""] * len(truths)
    return [
        Sample(None, ClassificationTarget(tuple(t)), f"{i}.png", g)
        for i, (t, g) in enumerate(zip(truths, groups, strict=True))
    ]


def one_label(
    truth: Sequence[int], scores: Sequence[Sequence[float]], *, bootstrap: int = 0, groups: Sequence[str] = ()
) -> Scores:
    """Scores of one-label predictions."""
    metrics = TASK.metrics(CLASSES[: len(scores[0])])
    metrics.update([Classification(np.asarray(s)) for s in scores], samples([[t] for t in truth], groups))
    return metrics.compute(bootstrap=bootstrap, seed=0)


def answers(truth: NDArray[np.int64], right: NDArray[np.bool_], sure: float = 0.9) -> list[list[float]]:
    """Two-class scores that are right where `right` is."""
    said = np.where(right, truth, 1 - truth)
    return [[sure, 1 - sure] if s == 0 else [1 - sure, sure] for s in said]


# --- figures


def test_figures_by_hand() -> None:
    """Truth cat cat dog owl, said cat dog dog dog."""
    found = one_label([0, 0, 1, 2], [[0.8, 0.2, 0], [0.4, 0.6, 0], [0.3, 0.7, 0], [0.1, 0.5, 0.4]]).figures
    assert found["accuracy"].value == pytest.approx(2 / 4)
    assert found["balanced_accuracy"].value == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert found["macro_f1"].value == pytest.approx((2 / 3 + 2 / 4 + 0) / 3)
    assert found["log_loss"].value == pytest.approx(-np.log([0.8, 0.4, 0.7, 0.4]).mean(), rel=1e-5)
    assert found["ece"].value == pytest.approx((0.2 + 0.6 + 0.3 + 0.5) / 4, rel=1e-5)  # each in a bin of its own
    assert "top5" not in found
    assert found["accuracy"].low is None


def test_intervals_equal_a_plain_loop() -> None:
    """Macro-F1 and ECE of explicit resamples, the same draws."""
    from espalier.tasks import intervals

    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 40)
    score = rng.dirichlet(np.ones(3), 40) * 0.5 + 0.5 * np.eye(3)[np.where(rng.random(40) < 0.6, truth, 1)]
    found = one_label(truth.tolist(), score.tolist(), bootstrap=60)
    loop = []
    for weight in np.concatenate(list(intervals.weights(40, n=60, seed=0))):
        rows = np.repeat(np.arange(40), weight.astype(int))
        loop.append(one_label(truth[rows].tolist(), score[rows].tolist()).figures["macro_f1"].value)
    low, high = np.percentile(loop, [2.5, 97.5])
    assert (found.figures["macro_f1"].low, found.figures["macro_f1"].high) == pytest.approx((low, high))


def test_a_perfect_score_has_an_honest_interval() -> None:
    truth = np.arange(50) % 2
    found = one_label(truth.tolist(), answers(truth, np.ones(50, bool)), bootstrap=200).figures
    assert found["accuracy"].low == pytest.approx(0.9287, abs=1e-3)
    assert found["accuracy"].high == 1.0
    assert "Wilson" in found["accuracy"].note
    assert found["macro_f1"].low is not None
    assert found["macro_f1"].low < 0.9
    assert "Wilson" in found["macro_f1"].note


def test_groups_widen_the_interval() -> None:
    truth = np.repeat(np.arange(20) % 2, 10)
    right = np.repeat(np.arange(20) % 3 > 0, 10)
    alone, grouped = (
        one_label(truth.tolist(), answers(truth, right), bootstrap=500, groups=g).figures["accuracy"]
        for g in ([], [f"g{i // 10}" for i in range(200)])
    )
    assert alone.value == grouped.value
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)  # type: ignore[operator]


def test_every_interval_holds_its_value() -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 30)
    found = one_label(truth.tolist(), rng.dirichlet(np.ones(3), 30).tolist(), bootstrap=300).figures
    for figure in found.values():
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value <= figure.high, figure


def test_a_picture_scored_twice_counts_once() -> None:
    metrics = TASK.metrics(CLASSES[:2])
    right, wrong = Classification(np.array([0.9, 0.1])), Classification(np.array([0.1, 0.9]))
    both = samples([[0], [0]])
    metrics.update([right, wrong], both)
    metrics.update([right, right], both)
    metrics.update([wrong], [Sample(None, ClassificationTarget((1,)), "other.png")])
    found = metrics.compute(bootstrap=100)
    assert found.n == 3
    assert found.value == pytest.approx((1 + 0.5 + 1) / 3)
    matrix = next(block for block in found.blocks if isinstance(block, Matrix))
    assert matrix.counts == [[1.5, 0.5], [0.0, 1.0]]


def test_blocks_are_json() -> None:
    found = one_label([0, 1, 2], np.eye(3).tolist(), bootstrap=50)
    assert [type(block) for block in found.blocks] == [Headline, Table, Matrix, Curve]
    for block in found.blocks:
        assert to_json(block)["kind"] == block.kind


def test_many_classes_show_pairs_instead_of_a_matrix() -> None:
    classes = [f"c{i}" for i in range(80)]
    metrics = TASK.metrics(classes)
    score = np.full(80, 0.001)
    score[5] = 0.9
    metrics.update([Classification(score)] * 2, samples([[5], [7]]))
    found = metrics.compute()
    pairs = [block for block in found.blocks if isinstance(block, Table)][1]
    assert pairs.rows == [["c7", "c5", 1.0]]
    assert found.figures["top5"].value == 1.0  # ties count for the truth


# --- unlabelled and wrongly labelled pictures


def test_unlabelled_pictures_are_left_out_and_two_labels_refused() -> None:
    metrics = TASK.metrics(CLASSES)
    said = Classification(np.array([1.0, 0, 0]))
    metrics.update([said, said], samples([[0], []]))
    assert metrics.compute().n == 1
    with pytest.raises(DataError, match=r"0\.png: has 2 labels \(cat, owl\)"):
        metrics.update([said], samples([[0, 2]]))


def test_nothing_to_score() -> None:
    with pytest.raises(DataError, match="no labelled picture"):
        TASK.metrics(CLASSES).compute()


# --- several labels


def several(truths: Sequence[Sequence[int]], scores: NDArray[np.float64], bootstrap: int = 0) -> Scores:
    """Scores of several-label predictions."""
    metrics = TASK.metrics(CLASSES)
    metrics.update([Classification(s, multi_label=True) for s in scores], samples(truths))
    return metrics.compute(bootstrap=bootstrap)


def test_average_precision_by_hand_and_with_ties() -> None:
    """Ranks: right, wrong, right → (1/1 + 2/3)/2; two equal scores are one step of precision 1/2."""
    one = np.ones((1, 3))
    assert average_precision(np.float32([0.9, 0.8, 0.7]), np.array([True, False, True]), one) == pytest.approx(5 / 6)
    assert average_precision(np.float32([0.5, 0.5]), np.array([True, False]), one[:, :2]) == pytest.approx(1 / 2)
    assert np.isnan(average_precision(np.float32([0.5]), np.array([False]), one[:, :1]))


def test_several_labels_by_hand() -> None:
    found = several([[0, 1], [1], []], np.array([[0.9, 0.4, 0.1], [0.2, 0.8, 0.6], [0.1, 0.1, 0.2]]), bootstrap=100)
    assert found.main == "map"
    assert found.figures["subset_accuracy"].value == pytest.approx(1 / 3)
    assert found.figures["micro_f1"].value == pytest.approx(2 * 2 / (3 + 3))
    assert found.figures["macro_f1"].value == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert found.figures["map"].value == pytest.approx(1.0)
    assert found.figures["map"].low is not None


# --- comparison


def test_compare_says_better_worse_and_cannot_tell() -> None:
    truth = np.arange(100) % 2
    good, bad = np.arange(100) < 95, np.arange(100) < 60
    a, b = (one_label(truth.tolist(), answers(truth, right)) for right in (bad, good))
    up = TASK.compare(a, b, bootstrap=500, seed=0)
    assert (up.verdict, up.n) == ("better", 100)
    assert up.figure.value == pytest.approx(0.35)
    assert {m.kind for m in up.changed} == {"gained"}
    assert len(up.changed) == 35
    assert TASK.compare(b, a, bootstrap=500, seed=0).verdict == "worse"
    assert TASK.compare(a, a, bootstrap=500, seed=0).verdict == "can't tell"


def test_four_won_and_none_lost_of_fifty_is_no_proof() -> None:
    """A plain paired bootstrap would say better (McNemar's exact p is 0.125)."""
    truth = np.zeros(50, np.int64)
    a, b = (one_label(truth.tolist(), answers(truth, np.arange(50) < n)) for n in (40, 44))
    found = TASK.compare(a, b, bootstrap=2000, seed=0)
    assert found.verdict == "can't tell"
    assert "Agresti" in found.figure.note


def test_compare_pairs_by_name_and_needs_some() -> None:
    metrics = [TASK.metrics(CLASSES[:2]) for _ in range(3)]
    said = [Classification(np.array([0.9, 0.1])), Classification(np.array([0.2, 0.8]))]
    named = samples([[0], [0]])
    metrics[0].update(said, named)
    metrics[1].update(said, named[::-1])
    metrics[2].update(said[:1], [Sample(None, ClassificationTarget((0,)), "stranger.png")])
    a, b, c = (m.compute() for m in metrics)
    found = TASK.compare(a, b, bootstrap=100, seed=0)
    assert [(m.kind, a.names[m.index]) for m in found.changed] == [("gained", "1.png"), ("lost", "0.png")]
    with pytest.raises(DataError, match="same pictures"):
        TASK.compare(a, c, bootstrap=100, seed=0)


def test_compare_several_labels() -> None:
    truths = [[0], [1], [2], [0, 1]] * 10
    good = np.array([[(c in t) * 0.8 + 0.1 for c in range(3)] for t in truths])
    found = TASK.compare(several(truths, 1 - good), several(truths, good), bootstrap=200, seed=0)
    assert found.verdict == "better"
    assert found.figure.name.endswith("(mAP)")


# --- decoders


def test_softmax() -> None:
    decode = TASK.decoder("softmax", 1)
    logits = np.float32([[0, np.log(3)], [1000, 0]])
    first, second = decode({"logits": logits}, [HERE] * 2, ("a", "b"), {})
    np.testing.assert_allclose(first.score_C, [0.25, 0.75], rtol=1e-6)
    np.testing.assert_allclose(second.score_C, [1, 0], atol=1e-6)
    soft = decode({"logits": logits}, [HERE] * 2, ("a", "b"), {"temperature": 2.0})[0]
    assert soft.score_C[1] == pytest.approx(3**0.5 / (1 + 3**0.5))


def test_sigmoid() -> None:
    found = TASK.decoder("sigmoid", 1)({"logits": np.float32([[0, 2, -900]])}, [HERE], CLASSES, {"threshold": 0.5})[0]
    assert found.class_ids == (0, 1)
    assert found.multi_label


@pytest.mark.parametrize(
    ("outputs", "params", "message"),
    [
        ({}, {}, "no output 'logits'"),
        ({"logits": np.zeros((1, 2))}, {}, "expected"),
        ({"logits": np.full((1, 3), np.nan)}, {}, "NaN"),
        ({"logits": np.zeros((1, 3))}, {"temperature": 0}, "temperature"),
        ({"logits": np.zeros((1, 3))}, {"temperature": "hot"}, "temperature"),
    ],
)
def test_a_bad_model_is_one_message(
    outputs: dict[str, NDArray[np.float64]], params: dict[str, object], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        TASK.decoder("softmax", 1)(outputs, [HERE], CLASSES, params)


def test_an_unknown_decoder_names_the_known() -> None:
    with pytest.raises(ModelError, match="softmax version 1"):
        TASK.decoder("softmax", 9)


# --- samples, predictions, pictures


def test_labels_become_targets() -> None:
    box = np.full((3, 4), np.nan, np.float32)
    labels = Annotations(np.array([2, 0, 2]), box, np.zeros(3, bool))
    sample = TASK.sample(None, labels, CLASSES, name="a.png", group="g")
    assert sample.target.class_ids == (0, 2)
    assert TASK.targets(sample, HERE, CLASSES)["class_C"].tolist() == [1, 0, 1]
    with pytest.raises(DataError, match=r"a\.png: class id 2"):
        TASK.sample(None, labels, CLASSES[:2], name="a.png", group="")


def test_which_labels_fit() -> None:
    assert TASK.fits(frozenset({"label"})) == 10
    assert TASK.fits(frozenset({"box"})) == TASK.fits(frozenset({"label", "polygon"})) == 1
    assert TASK.fits(frozenset()) == 0
    assert base.ranked(["label"]) == ["classification"]
    assert base.ranked(["box"])[-1] == "classification"
    assert base.ranked([]) == []


@pytest.mark.parametrize("scores", [[], [[0.5]], [1.5], [-0.1], [np.nan]])
def test_scores_that_are_none(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="score"):
        Classification(np.asarray(scores))


def test_records() -> None:
    said = Classification(np.float32([0.25, 0.75, 0]))
    assert TASK.rows(said, CLASSES)[0] == {
        "class": "dog", "score": 0.75, "score:cat": 0.25, "score:dog": 0.75, "score:owl": 0.0,
    }  # fmt: skip
    assert TASK.to_json(said, CLASSES)["class"] == "dog"
    both = Classification(np.float32([0.6, 0.75, 0]), multi_label=True)
    assert TASK.rows(both, CLASSES)[0]["classes"] == "cat;dog"
    assert TASK.to_json(both, CLASSES)["classes"] == ["cat", "dog"]
    assert both.label(CLASSES) == "dog 75 %, cat 60 %"


@pytest.mark.parametrize("shape", [(20, 30, 3), (200, 300, 1), (20, 30, 4), (20, 30, 7), (20, 30)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_draw_takes_every_kind_of_picture(shape: tuple[int, ...], dtype: type) -> None:
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    page = TASK.draw(image, Classification(np.float32([0.5, 0.5, 0])), CLASSES)
    assert page.dtype == np.uint8
    assert page.shape[2] == 3
    assert min(page.shape[:2]) >= 160


def test_mistakes_rank_the_surest_wrong_answer_first() -> None:
    said = [Classification(np.asarray(s)) for s in ([0.6, 0.4, 0], [0.1, 0.9, 0], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4])]
    found = TASK.mistakes(said, samples([[0], [0], [2], []]), CLASSES)
    assert [m.index for m in found if m.kind == "most confident"] == [1, 2]
    assert [m.index for m in found if m.kind == "worst"] == [1, 2, 0]
    assert found[0].caption == "cat; said dog 90 %"
    assert [m.wrong for m in found if m.kind == "worst"] == [True, True, False]
