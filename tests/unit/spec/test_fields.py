from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from espalier.spec.fields import Auto, Model, knob


class Bounded(Model):
    count: int | Auto = knob("auto", "a count", ge=1, le=9)
    share: float = knob(0.5, "a share", gt=0, lt=1)
    size_hw: tuple[int, int] | Auto = knob("auto", "a size", ge=1)
    free: float = knob(0.0, "any number")
    on: bool = knob(True, "a switch", ge=5)


@pytest.mark.parametrize(
    "values",
    [
        {"count": 1},
        {"count": 9},
        {"count": "auto"},
        {"share": 0.999},
        {"size_hw": (1, 5)},
        {"free": -1e30},
        {"on": False},
    ],
)
def test_within_bounds(values: dict[str, Any]) -> None:
    assert Bounded(**values).model_dump(include=set(values)) == values


@pytest.mark.parametrize(
    "values",
    [
        {"count": 0},
        {"count": 10},
        {"share": 0},
        {"share": 1},
        {"size_hw": (0, 5)},
        {"free": float("nan")},
        {"free": float("inf")},
        {"share": float("nan")},
    ],
)
def test_out_of_bounds(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="out of range"):
        Bounded(**values)


def test_frozen_and_closed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Bounded().count = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Bounded(other=1)  # type: ignore[call-arg]
