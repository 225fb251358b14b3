"""The map between source and input pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.vision.geometry import Geometry

SIDE = st.integers(1, 6000)


def test_the_corners_of_a_stretch() -> None:
    geometry = Geometry.stretch((100, 200), (50, 50))
    np.testing.assert_array_equal(
        geometry.to_input(np.array([[0, 0], [200, 100], [40, 10]])), [[0, 0], [50, 50], [10, 5]]
    )


def test_a_mirror_keeps_boxes_in_order() -> None:
    geometry = Geometry.flip((10, 20), horizontal=True)
    box_N4 = np.array([[1.0, 2, 5, 6]])
    np.testing.assert_array_equal(geometry.boxes_to_input(box_N4), [[15, 2, 19, 6]])
    np.testing.assert_array_equal(geometry.boxes_to_source(geometry.boxes_to_input(box_N4)), box_N4)


def test_padding_stays_padding_when_more_follows() -> None:
    padded = Geometry.pad((30, 40), (60, 60))
    assert padded.valid_hw == (30, 40)
    assert padded.then(Geometry.stretch((60, 60), (30, 30))).valid_hw == (15, 20)
    assert padded.then(Geometry.pad((60, 60), (80, 90))).valid_hw == (30, 40)
    assert Geometry.stretch((3, 4), (30, 40)).then(Geometry.pad((30, 40), (64, 64))).valid_hw == (30, 40)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    source=st.tuples(SIDE, SIDE), resized=st.tuples(SIDE, SIDE),
    corner=st.tuples(st.integers(0, 500), st.integers(0, 500)),
    flip=st.booleans(), points=st.lists(st.tuples(st.integers(-100, 6000), st.integers(-100, 6000)), min_size=1),
)  # fmt: skip
def test_a_chain_of_steps_comes_back_exactly(
    source: tuple[int, int],
    resized: tuple[int, int],
    corner: tuple[int, int],
    flip: bool,
    points: list[tuple[int, int]],
) -> None:
    geometry = Geometry.stretch(source, resized)
    geometry = geometry.then(Geometry.crop(resized, top=corner[0], left=corner[1], size_hw=(224, 224)))
    geometry = geometry.then(Geometry.flip((224, 224), horizontal=flip))
    geometry = geometry.then(Geometry.pad((224, 224), (256, 256)))
    np.testing.assert_array_equal(geometry.to_source(geometry.to_input(np.array(points))), points)


def test_no_boxes_are_no_boxes() -> None:
    assert Geometry.identity((4, 4)).boxes_to_input(np.zeros((0, 4))).shape == (0, 4)
