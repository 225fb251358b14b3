"""Rows on a knife's edge, on a rule that can be followed in the head."""

from __future__ import annotations

import numpy as np
import pytest

from espalier.bundle.bundle import Bundle
from espalier.bundle.steady import NOISE, edge_rows, edge_words, unsteady_rows

from .conftest import golden_set, linear

STEADY, EDGE = [1.0, 2.0], [1.0, 1.0]
EVERY = np.array([True, True])


class Larger:
    """Which of two numbers is larger? The one where they are equal; and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, inputs):
        self.asked += 1
        return {"y": np.where(inputs["x"][:, 0] >= inputs["x"][:, 1], 1.0, 2.0)[:, None]}


def edges(inputs, expected, found, run, match=None):
    return edge_rows(inputs, expected, found, 1e-3, run=run, said=expected, match=match).tolist()


def test_only_rows_that_differ_and_that_the_model_does_not_hold():
    inputs, run = {"x": np.array([STEADY, EDGE, EDGE], np.float32)}, Larger()
    expected = {"y": np.array([[2.0], [1.0], [1.0]])}
    assert edges(inputs, expected, {"y": np.array([[1.0], [2.0], [1.0]])}, run) == [False, True, False]


def test_the_model_is_asked_again_only_where_something_differs():
    inputs, run = {"x": np.array([EDGE], np.float32)}, Larger()
    assert edges(inputs, {"y": np.ones((1, 1))}, {"y": np.ones((1, 1))}, run) == [False]
    assert run.asked == 0


def test_noise_is_a_millionth_of_the_largest_input_and_only_on_numbers_that_have_it():
    seen = []

    def run(inputs):
        seen.append(inputs)
        return {"y": inputs["x"]}

    inputs = {"x": np.array([[-100.0, 0.0]] * 2, np.float32), "size": np.array([[3, 4]] * 2)}
    assert not unsteady_rows(inputs, EVERY, 1e-3, run=run, said={"y": inputs["x"]}, match=None).any()
    assert all(np.array_equal(each["size"], inputs["size"]) and each["x"].dtype == np.float32 for each in seen)
    largest = max(float(np.abs(each["x"] - inputs["x"]).max()) for each in seen)
    assert 0 < largest < 5 * NOISE * 100
    assert len({each["x"].tobytes() for each in seen}) == len(seen) > 1


def test_rows_are_matched_before_they_are_compared():
    def swaps(inputs):  # two answers in an order that noise turns around
        return {"y": np.where(inputs["x"][:, :1] >= inputs["x"][:, 1:], [1.0, 2.0], [2.0, 1.0])}

    def in_order(_, found):
        return {"y": np.sort(found["y"])}

    inputs = {"x": np.array([EDGE, EDGE], np.float32)}
    said = swaps(inputs)
    assert unsteady_rows(inputs, EVERY, 1e-3, run=swaps, said=said, match=None).all()
    assert not unsteady_rows(inputs, EVERY, 1e-3, run=swaps, said=said, match=in_order).any()


@pytest.mark.parametrize("found", [{"z": np.ones((2, 1))}, {"y": np.ones((1, 1))}, {"y": np.full((2, 1), np.nan)}])
def test_what_is_no_answer_is_an_error_of_every_row_that_the_model_holds(found):
    inputs = {"x": np.array([STEADY, STEADY], np.float32)}
    assert edges(inputs, {"y": np.full((2, 1), 2.0)}, found, Larger()) == [False, False]


def test_words():
    assert edge_words(0, 4) == ""
    assert edge_words(1, 4).startswith("1 of 4 inputs stands on a knife's edge: the model itself")
    assert "changes its answer by more than the tolerance when its input changes by a millionth" in edge_words(3, 64)


# ---- in verify -------------------------------------------------------------------------------------------------------


def jumping(rows):
    """The graph of the toy bundle on a machine where it does not hold its answer to some of the golden inputs."""
    golden = golden_set().inputs["image"][rows]

    def run(inputs):
        near_B = np.array([any(np.allclose(image, g, atol=1e-3) for g in golden) for image in inputs["image"]])
        exact_B = np.array([any(np.array_equal(image, g) for g in golden) for image in inputs["image"]])
        jump_B = np.where(exact_B, 1.0, np.where(near_B, 2.0, 0.0)).astype(np.float32)
        return {"logits": linear(inputs)["logits"] + jump_B[:, None]}

    return run


def test_verify_leaves_out_and_tells(toy):
    report = Bundle.open(toy).verify(jumping([1]))
    assert report.passed
    assert report.checks[1].note.startswith("1 of 3 inputs stands on a knife's edge")


def test_verify_does_not_pass_on_nothing(toy):
    assert not Bundle.open(toy).verify(jumping([0, 1, 2])).passed
