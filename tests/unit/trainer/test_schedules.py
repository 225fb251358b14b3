"""The rate over the steps, against values worked by hand: 10 steps an epoch, 10 epochs."""

from __future__ import annotations

import pytest
from parts import train_spec

from espalier.trainer.schedules import rate_factor

CASES = [
    ("cosine", {}, 0, 1.0),
    ("cosine", {}, 50, 0.5 * (1 + 0.01)),  # halfway: the middle of 1 and the end's 0.01
    ("cosine", {}, 100, 0.01),
    ("cosine", {}, 1000, 0.01),
    ("cosine", {"final_lr_ratio": 0.0}, 25, 0.5 * (1 + 2**-0.5)),
    ("poly", {"poly_power": 2.0, "final_lr_ratio": 0.0}, 50, 0.25),
    ("poly", {"final_lr_ratio": 0.0}, 100, 0.0),
    ("step", {"step_epochs": (3, 6)}, 29, 1.0),
    ("step", {"step_epochs": (3, 6)}, 30, 0.1),
    ("step", {"step_epochs": (3, 6)}, 60, 0.01),
    ("constant", {}, 99, 1.0),
]


@pytest.mark.parametrize(("schedule", "values", "step", "wanted"), CASES)
def test_by_hand(schedule: str, values: dict[str, float], step: int, wanted: float) -> None:
    train = train_spec(schedule=schedule, warmup_epochs=0, **values)
    assert rate_factor(train, step, 10, 100) == pytest.approx(wanted)


def test_the_warm_up_is_linear_and_reaches_the_base_rate() -> None:
    train = train_spec(schedule="constant", warmup_epochs=0.5)
    assert [rate_factor(train, step, 10, 100) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_a_warm_up_longer_than_the_training_still_leaves_a_step() -> None:
    train = train_spec(schedule="cosine", warmup_epochs=100)
    assert [rate_factor(train, step, 2, 4) for step in range(4)] == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0])
    assert rate_factor(train, 0, 1, 1) == 1.0
