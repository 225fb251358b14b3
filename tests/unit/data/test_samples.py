"""Samples: what is shown of a set stands for all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from espalier.data.formats import read_index
from espalier.data.samples import Samples
from espalier.tasks import base as tasks


@pytest.mark.parametrize(("count", "kept"), [(0, 0), (1, 1), (3, 3), (9, 9), (36, 36), (100, 36)])
def test_spread_takes_that_many_from_all_over(photos: Path, count: int, kept: int) -> None:
    samples = Samples(read_index(str(photos)), tasks.get("classification"))
    some = samples.spread(count)
    assert len(some) == kept
    if count >= 3:  # sorted by class: 12 of each
        assert set(some.index.class_id) == {0, 1, 2}
