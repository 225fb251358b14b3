"""Run lengths and polygons against pycocotools, and against files that lie."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.errors import DataError
from espalier.vision import masks

coco = pytest.importorskip("pycocotools.mask")
SIDE = st.integers(1, 50)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(height=SIDE, width=SIDE, share=st.floats(0, 1), seed=st.integers(0, 99))
def test_run_lengths_equal_pycocotools(height: int, width: int, share: float, seed: int) -> None:
    mask_HW = np.random.default_rng(seed).random((height, width)) < share
    rle = masks.encode_rle(mask_HW)
    assert rle["counts"] == coco.encode(np.asfortranarray(mask_HW.astype(np.uint8)))["counts"].decode()
    np.testing.assert_array_equal(masks.decode_rle(rle), mask_HW)
    np.testing.assert_array_equal(masks.decode_rle(masks.encode_rle(mask_HW, compressed=False)), mask_HW)
    assert masks.rle_area(rle) == mask_HW.sum()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    height=SIDE, width=SIDE, polygon=st.lists(st.tuples(st.floats(-20, 70), st.floats(-20, 70)), min_size=3, max_size=8)
)
def test_polygons_equal_pycocotools(height: int, width: int, polygon: list[tuple[float, float]]) -> None:
    flat = [value for point in polygon for value in point]
    expected = coco.decode(coco.merge(coco.frPyObjects([flat], height, width))).astype(bool)
    np.testing.assert_array_equal(masks.polygons_to_mask([flat], (height, width)), expected)


def test_a_mask_by_hand() -> None:
    mask_HW = np.zeros((3, 4), bool)
    mask_HW[1:, 2] = True
    assert masks.encode_rle(mask_HW, compressed=False) == {"size": [3, 4], "counts": [7, 2, 3]}
    np.testing.assert_array_equal(masks.mask_to_box(mask_HW), [2, 1, 3, 3])
    np.testing.assert_array_equal(masks.mask_to_box(mask_HW & False), [0, 0, 0, 0])


def test_a_square_becomes_a_polygon_and_back() -> None:
    mask_HW = np.zeros((40, 50), bool)
    mask_HW[10:20, 5:30] = True
    (polygon,) = masks.mask_to_polygons(mask_HW)
    assert masks.segment_to_mask([polygon], (40, 50)).sum() == pytest.approx(mask_HW.sum(), rel=0.2)
    np.testing.assert_array_equal(masks.segment_to_mask(masks.encode_rle(mask_HW), (40, 50)), mask_HW)
    with pytest.raises(DataError, match="its picture has 40 × 51"):
        masks.segment_to_mask(masks.encode_rle(mask_HW), (40, 51))


@pytest.mark.parametrize(
    "rle",
    [
        {}, {"size": [2, 2]}, {"size": [2, 2], "counts": [1]}, {"size": [2, 2], "counts": [5, -1]},
        {"size": [2, 2], "counts": [4.0]}, {"size": [2, 2], "counts": [[1], [3]]}, {"size": [2, 2], "counts": ["4"]},
        {"size": [2, 2], "counts": "\x00"}, {"size": [2, 2], "counts": ""}, {"size": [2, 2], "counts": "o" * 40},
        {"size": [60_000, 60_000], "counts": [3_600_000_000]}, {"size": "22", "counts": [4]},
    ],
)  # fmt: skip
@pytest.mark.parametrize("radius", [0.6, 1.5, 3, 9, 25])
def test_polygons_around_a_mask_fill_the_very_mask(radius: float) -> None:
    rng = np.random.default_rng(round(radius))
    y, x = np.mgrid[:60, :70] + 0.5
    for _ in range(5):
        cx, cy = rng.uniform(0, 70), rng.uniform(0, 60)
        mask_HW = ((x - cx) ** 2 + (1.7 * (y - cy)) ** 2 < radius**2) | (
            (x - cx + 20) ** 2 + (0.6 * (y - cy)) ** 2 < radius**2
        )
        assert (masks.polygons_to_mask(masks.mask_to_polygons(mask_HW), (60, 70)) == mask_HW).all()


def test_run_lengths_that_lie_are_data_errors(rle: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"file\.json"):
        masks.decode_rle(rle, where="file.json")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    counts=st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=20)
    | st.lists(st.integers(), max_size=9)
)
def test_any_counts_are_a_mask_or_a_data_error(counts: Any) -> None:
    with contextlib.suppress(DataError):
        assert masks.decode_rle({"size": [7, 9], "counts": counts}).shape == (7, 9)


@pytest.mark.parametrize(
    "polygon", [[1, 2], [1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, float("nan")], [1e9] * 6, [[1, 2]] * 3]
)
def test_polygons_that_lie_are_data_errors(polygon: Any) -> None:
    with pytest.raises(DataError):
        masks.polygons_to_mask([polygon], (10, 10))
