"""Where ticks lie."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.runs.report.axes import axis, nice
from espalier.runs.report.figures import ticks


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ([0, 1], (0, 0.2, 0.4, 0.6, 0.8, 1)),
        ([0.83, 0.97], (0.8, 0.85, 0.9, 0.95, 1)),
        ([3, 3], (2.6, 2.8, 3.0, 3.2, 3.4)),
        ([], (0, 0.2, 0.4, 0.6, 0.8, 1)),
    ],
)
def test_linear(values: list[float], want: tuple[float, ...]) -> None:
    assert axis(values).ticks == want


def test_whole_numbers_get_whole_ticks() -> None:
    assert axis([1, 2, 3], tight=True).ticks == (1, 2, 3)
    assert axis([0.0, 0.5, 1.0], tight=True).ticks == (0, 0.2, 0.4, 0.6, 0.8, 1)


def test_log() -> None:
    found = axis([1e-4, 1], log=True)
    assert found.ticks == (1e-4, 1e-3, 1e-2, 1e-1, 1)
    assert found.at(1e-2) == pytest.approx(0.5)
    assert not found.holds(0.0)
    assert axis([5e-324], log=True) == axis([], log=True)  # a number without powers of ten around it


@pytest.mark.parametrize(("step", "want"), [(0.3, 0.5), (1, 1), (2.1, 2.5), (7, 10), (0.0011, 0.002)])
def test_nice(step: float, want: float) -> None:
    assert nice(step) == pytest.approx(want)


@pytest.mark.parametrize(
    ("numbers", "want"),
    [
        ((0, 5000, 10000), ["0", "5k", "10k"]),
        ((0, 0.0002, 0.001), ["0", "0.0002", "0.001"]),
        ((0, 2e-6), ["0", "2e-6"]),
        ((-0.5, 0, 0.5), ["−0.5", "0", "0.5"]),
        ((0, 2e6), ["0", "2M"]),
    ],
)
def test_tick_words(numbers: tuple[float, ...], want: list[str]) -> None:
    assert ticks(numbers) == want


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=20), st.booleans(), st.booleans())
def test_any_values_have_an_axis(values: list[float], log: bool, tight: bool) -> None:
    found = axis(values, log=log, tight=tight)
    assert found.low < found.high
    assert len(found.ticks) <= 40
    for value in values:
        if found.holds(value) and abs(value) < 1e300:
            assert math.isfinite(found.at(value))
