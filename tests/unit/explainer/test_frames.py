from __future__ import annotations

import numpy as np
import pytest

from espalier.explainer.frames import enlarge, resample, seen, to_source
from espalier.vision.geometry import Geometry
from espalier.vision.prepare import standard_prepare


def test_whole_pixels_keep_their_values() -> None:
    map_HW = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.array_equal(resample(map_HW, Geometry.identity((3, 4))), map_HW)
    assert np.array_equal(to_source(map_HW, Geometry.flip((3, 4), horizontal=True)), map_HW[:, ::-1])


def test_enlarging_is_bilinear_between_centres() -> None:
    assert enlarge(np.array([[0.0, 1.0]]), (1, 4)).tolist() == [[0.0, 0.25, 0.75, 1.0]]


def test_what_a_crop_leaves_out_is_not_seen() -> None:
    shown_HW = to_source(np.ones((2, 2)), Geometry.crop((4, 6), top=1, left=3, size_hw=(2, 2)))
    assert np.array_equal(np.argwhere(np.isfinite(shown_HW)), [[1, 3], [1, 4], [2, 3], [2, 4]])


def test_padding_is_no_part_of_the_picture() -> None:
    map_HW = np.zeros((4, 4))
    map_HW[2:] = 9  # padding below
    shown_HW = to_source(map_HW, Geometry.pad((2, 4), (4, 4)))
    assert shown_HW.shape == (2, 4)
    assert np.array_equal(shown_HW, np.zeros((2, 4)))


@pytest.mark.parametrize("fit", ["stretch", "centre_crop", "letterbox", "longest_edge"])
def test_a_mark_comes_back_to_its_own_place(fit: str) -> None:
    """A spot in the source, prepared and brought back, has its peak where it was."""
    image_HWC = np.zeros((90, 120, 3), np.uint8)
    image_HWC[38:44, 54:60] = 255
    placed_HWC, geometry = standard_prepare((48, 64), fit=fit).place(image_HWC)  # type: ignore[arg-type]
    back_HW = to_source(placed_HWC[:, :, 0], geometry)
    y, x = np.unravel_index(np.nanargmax(back_HW), back_HW.shape)
    assert abs(y - 40.5) <= 2
    assert abs(x - 56.5) <= 2
    assert back_HW.shape == (90, 120)
    assert np.array_equal(np.isfinite(back_HW), seen(geometry))
