"""When training stops by itself."""

from __future__ import annotations

import math

import pytest

from espalier.errors import DivergedError
from espalier.trainer.stopping import FLOOR, Divergence


def test_a_loss_that_began_near_nothing_may_grow() -> None:
    watch = Divergence(factor=100)
    watch.check(4e-5, 1, "")
    watch.check(99 * FLOOR, 2, "")
    with pytest.raises(DivergedError, match=f"{FLOOR:.4g} at the start"):
        watch.check(101 * FLOOR, 3, "")


@pytest.mark.parametrize(("loss", "stops"), [(199.0, False), (201.0, True), (math.nan, True), (math.inf, True)])
def test_a_loss_runs_away_from_its_first_value(loss: float, stops: bool) -> None:
    watch = Divergence(factor=100)
    watch.check(2.0, 1, "")
    if stops:
        with pytest.raises(DivergedError, match="at step 2"):
            watch.check(loss, 2, "")
    else:
        watch.check(loss, 2, "")
