from __future__ import annotations

import numpy as np
import pytest

from espalier.explainer.overlay import coloured, fitted, overlay, scale_of


def ramp(height: int = 60, width: int = 80) -> np.ndarray:
    return np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))


@pytest.mark.parametrize("level", [0, 128, 255])
def test_the_marked_part_is_the_brightest_and_warmest_on_any_ground(level):
    drawn = overlay(np.full((60, 80, 3), level, np.uint8), ramp(), from_zero=True).astype(float)
    strip = round(1.7 * round(288 / 22))
    picture = drawn[: drawn.shape[0] - strip]
    marked, unmarked = picture[60:120, -20:-8].mean(axis=(0, 1)), picture[60:120, 8:20].mean(axis=(0, 1))
    assert marked @ [0.3, 0.6, 0.1] > unmarked @ [0.3, 0.6, 0.1] + 30
    assert marked[0] > marked[2] + 40  # towards yellow
    assert np.ptp(unmarked) < 12  # grey


def test_lightness_rises_with_the_value():
    light = coloured(np.linspace(0, 1, 50)[None])[0] @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(light) > -1).all()


def test_what_is_not_seen_is_striped():
    map_HW = ramp()
    map_HW[:, :40] = np.nan
    drawn = overlay(np.full((60, 80, 3), 200, np.uint8), map_HW, from_zero=True)
    left = drawn[20:180, 10:120]
    assert np.ptp(left) > 50  # stripes
    assert (left.max(axis=2) == left.min(axis=2)).all()  # without colour


@pytest.mark.parametrize("map_HW", [np.zeros((9, 9)), np.full((9, 9), np.nan), -np.ones((9, 9))])
def test_a_map_of_nothing_is_drawn_as_nothing(map_HW):
    assert scale_of(map_HW.astype(np.float32), from_zero=True) == (0, 0)
    drawn = overlay(np.full((9, 9, 3), 90, np.uint8), map_HW.astype(np.float32), from_zero=True)
    assert drawn.dtype == np.uint8
    assert (drawn.max(axis=2) - drawn.min(axis=2)).max() == 0


def test_sizes_to_look_at():
    assert fitted(np.zeros((20, 30, 3), np.uint8)).shape == (200, 300, 3)
    assert fitted(np.zeros((3000, 1500, 3), np.uint8)).shape == (1024, 512, 3)
    sixteen = overlay(np.full((40, 50, 1), 30_000, np.uint16), np.ones((40, 50), np.float32), from_zero=True)
    assert sixteen.shape[2] == 3
