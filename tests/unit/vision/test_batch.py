"""Pictures of different sizes in one batch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.tasks.base import ImageQuery
from espalier.vision.batch import padded, stacked, suits
from espalier.vision.prepare import Prepare, ValidInput, standard_prepare

CAPPED = standard_prepare((24, 40), fit="capped_edges", mean=(0.5,) * 3, std=(0.5,) * 3)
TOLD = Prepare(CAPPED.inputs, valid=(ValidInput(),))


def query(height: int, width: int) -> ImageQuery:
    return ImageQuery(np.full((height, width, 3), 200, np.uint8))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(8, 90), st.integers(8, 90)), min_size=1, max_size=5))
def test_each_picture_lies_at_the_top_left_with_zeros_around_it(sizes: list[tuple[int, int]]) -> None:
    prepared = [TOLD(query(*size)) for size in sizes]
    assert all(suits(each) == suits(prepared[0]) for each in prepared)
    inputs, geometries = stacked(prepared)
    height, width = inputs["image"].shape[2:]
    assert (height, width) == tuple(np.max([each.geometry.input_hw for each in prepared], axis=0))
    for n, (one, geometry) in enumerate(zip(prepared, geometries, strict=True)):
        h, w = inputs["valid_hw"][n]
        assert (h, w) == geometry.valid_hw == one.geometry.valid_hw
        np.testing.assert_array_equal(inputs["image"][n, :, :h, :w], one.arrays["image"])
        assert not inputs["image"][n, :, h:].any()
        assert not inputs["image"][n, :, :, w:].any()
        assert geometry.input_hw == (height, width)
        box = np.array([[1.0, 2.0, 5.0, 7.0]])
        np.testing.assert_array_equal(geometry.boxes_to_input(box), one.geometry.boxes_to_input(box))


def test_a_network_that_is_not_told_gets_no_padding() -> None:
    wide, tall = CAPPED(query(20, 60)), CAPPED(query(60, 20))
    assert suits(wide) != suits(tall)
    assert padded(wide, {"image": (99, 99)}) is wide


@pytest.mark.parametrize("size_hw", [(24, 24), (20, 60)])
def test_what_is_larger_already_stays(size_hw: tuple[int, int]) -> None:
    one = TOLD(query(24, 40))
    assert padded(one, {"image": size_hw}) is one
