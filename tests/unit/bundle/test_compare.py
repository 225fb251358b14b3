"""The measure of parity, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from espalier.bundle.compare import errors, json_difference, max_error, merge


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1.0, -4.0], [1.0, -4.0], 0.0),
        ([1.0, -4.0], [1.0, -3.0], 0.25),  # 1 / 4
        ([1e-5, 0.0], [0.0, 0.0], 1e-2),  # 1e-5 over the floor of 1e-3
        ([1.0, 2.0], [[1.0, 2.0]], math.inf),
        ([np.nan, 1.0], [0.0, 1.0], math.inf),
        ([np.nan, 1.0], [np.nan, 1.0], 0.0),
        ([np.inf, 1.0], [-np.inf, 1.0], math.inf),
        ([np.inf, 2.0], [np.inf, 1.0], 0.5),
        ([np.nan, 1.0], [np.inf, 1.0], math.inf),
        ([], [], 0.0),
    ],
)
def test_max_error(a, b, expected):
    assert max_error(np.array(a), np.array(b)) == pytest.approx(expected)


def test_integers_do_not_wrap_around():
    a, b = np.array([0, 2], np.uint8), np.array([1, 2], np.uint8)
    assert max_error(a, b) == 0.5


def test_a_missing_output_is_infinitely_wrong():
    one = np.ones(2)
    assert errors({"x": one, "y": one}, {"x": one, "z": one}) == {"x": 0.0, "y": math.inf, "z": math.inf}
    assert merge({"x": 1.0}, {"x": 0.5, "y": 2.0}) == {"x": 1.0, "y": 2.0}


@pytest.mark.parametrize(
    ("found", "path"),
    [
        ([{"class": "cat", "score": 0.50001}], None),
        ([{"class": "dog", "score": 0.5}], "[0].class"),
        ([{"class": "cat", "score": 0.6}], "[0].score"),
        ([{"class": "cat"}], "[0].keys"),
        ([], ".length"),
        ([{"class": "cat", "score": True}], "[0].score"),
    ],
)
def test_json_difference_names_the_place(found, path):
    difference = json_difference([{"class": "cat", "score": 0.5}], found, tolerance=1e-4)
    assert (difference.path if difference else None) == path
