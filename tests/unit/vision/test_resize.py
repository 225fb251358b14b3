"""Each rule gives its library's numbers, within 1 LSB, at any size."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from espalier.errors import ImageError
from espalier.vision.resize import RESAMPLES, Resample, resize

SIDE = st.integers(1, 90)
BY_PILLOW = {"pillow_bilinear": Image.Resampling.BILINEAR, "pillow_bicubic": Image.Resampling.BICUBIC}
BY_CV2 = {"cv2_linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}


def noise(height: int, width: int, bands: int, dtype: Any = np.uint8) -> NDArray[Any]:
    rng = np.random.default_rng(height * 1000 + width)
    return rng.integers(0, np.iinfo(dtype).max, (height, width, bands), dtype=dtype, endpoint=True)


def by_library(image_HWC: NDArray[Any], size_hw: tuple[int, int], rule: str) -> NDArray[Any]:
    size_wh = (size_hw[1], size_hw[0])
    if rule in BY_CV2:
        return np.asarray(cv2.resize(image_HWC, size_wh, interpolation=BY_CV2[rule])).reshape(*size_hw, -1)
    mode_array = image_HWC[:, :, 0] if image_HWC.shape[2] == 1 else image_HWC
    return np.asarray(Image.fromarray(mode_array).resize(size_wh, BY_PILLOW[rule])).reshape(*size_hw, -1)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(height=SIDE, width=SIDE, to_height=SIDE, to_width=SIDE, bands=st.sampled_from([1, 3]))
@pytest.mark.parametrize("rule", [*BY_PILLOW, *BY_CV2])
def test_8_bit_equals_the_library(
    rule: Resample, height: int, width: int, to_height: int, to_width: int, bands: int
) -> None:
    image_HWC = noise(height, width, bands)
    ours = resize(image_HWC, (to_height, to_width), rule).astype(int)
    assert np.abs(ours - by_library(image_HWC, (to_height, to_width), rule)).max() <= 1


@settings(max_examples=60, deadline=None, derandomize=True)
@given(height=SIDE, width=SIDE, to_height=SIDE, to_width=SIDE)
@pytest.mark.parametrize("rule", [*BY_PILLOW, *BY_CV2])
def test_16_bit_equals_the_library(rule: Resample, height: int, width: int, to_height: int, to_width: int) -> None:
    image_HWC = noise(height, width, 1, np.uint16)
    if rule == "pillow_bicubic":
        image_HWC //= 3  # Pillow's own 16-bit bicubic wraps around at its ends instead of clipping
        image_HWC += 20_000
    ours = resize(image_HWC, (to_height, to_width), rule).astype(int)
    assert np.abs(ours - by_library(image_HWC, (to_height, to_width), rule).astype(int)).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("rule", RESAMPLES)
def test_every_band_is_resampled_by_itself(rule: Resample, bands: int, dtype: Any) -> None:
    image_HWC = noise(31, 47, bands, dtype)
    whole = resize(image_HWC, (20, 60), rule)
    assert whole.shape == (20, 60, bands)
    assert whole.dtype == dtype
    for c in range(bands):
        alone = resize(image_HWC[:, :, c : c + 1], (20, 60), rule)[:, :, 0]
        assert np.abs(whole[:, :, c].astype(int) - alone).max() <= 1


@pytest.mark.parametrize("rule", RESAMPLES)
def test_a_box_is_cut_out_first_and_views_are_fine(rule: Resample) -> None:
    image_HWC = noise(40, 50, 3)
    cut = np.ascontiguousarray(image_HWC[5:25, 10:40])
    np.testing.assert_array_equal(resize(image_HWC, (8, 9), rule, box=(10, 5, 40, 25)), resize(cut, (8, 9), rule))
    flipped = image_HWC[::-1, ::-1]
    np.testing.assert_array_equal(resize(flipped, (8, 9), rule), resize(np.ascontiguousarray(flipped), (8, 9), rule))


def test_the_same_size_is_the_same_picture_and_nothing_is_an_error() -> None:
    image_HWC = noise(4, 5, 3)
    assert resize(image_HWC, (4, 5), "area") is image_HWC
    with pytest.raises(ImageError, match="can't be resized"):
        resize(image_HWC, (4, 5), "area", box=(3, 3, 3, 4))


def test_nearest_keeps_labels() -> None:
    labels = noise(17, 23, 1) // 100
    assert set(np.unique(resize(labels, (50, 60), "nearest"))) <= set(np.unique(labels))
