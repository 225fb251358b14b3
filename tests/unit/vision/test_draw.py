"""What is drawn is where it should be, and stays inside the picture."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageFont

from espalier.vision import draw


@pytest.mark.parametrize(
    ("bands", "dtype"), [(1, np.uint8), (2, np.uint8), (3, np.uint16), (4, np.uint8), (6, np.uint16)]
)
def test_every_picture_can_be_looked_at(bands: int, dtype: type) -> None:
    seen = draw.to_rgb8(np.full((4, 5, bands), 200, dtype))
    assert (seen.shape, seen.dtype) == ((4, 5, 3), np.uint8)


def test_twelve_bits_are_stretched_and_alpha_lies_on_white() -> None:
    deep = np.array([[[0], [4095]]], np.uint16)
    np.testing.assert_array_equal(draw.to_rgb8(deep)[0, :, 0], [0, 255])
    clear = np.array([[[10, 20, 30, 0]]], np.uint8)
    np.testing.assert_array_equal(draw.to_rgb8(clear)[0, 0], [255, 255, 255])


def test_a_box_has_its_edges_inside() -> None:
    black = np.zeros((40, 60, 3), np.uint8)
    seen = draw.draw_boxes(
        black, np.array([[10, 5, 30, 25], [np.nan] * 4, [-50, -50, 500, 500]]), colours=[(255, 0, 0)]
    )
    assert tuple(seen[5, 10]) == (255, 0, 0)
    assert tuple(seen[24, 29]) == (255, 0, 0)
    assert tuple(seen[25, 30]) == (0, 0, 0)
    assert not black.any()


def test_a_label_stays_inside_and_a_mask_tints() -> None:
    black = np.zeros((60, 200, 3), np.uint8)
    assert draw.draw_label(black, ["tree 0.93"], colour=(200, 30, 30), at_xy=(900, 900)).any()
    mask_HW = np.zeros((60, 200), bool)
    mask_HW[3, 4] = True
    tinted = draw.draw_mask(black, mask_HW, colour=(100, 200, 40), opacity=0.5)
    np.testing.assert_array_equal(tinted[3, 4], [50, 100, 20])
    assert tinted.sum() == 170
    classes = draw.draw_classes(black, mask_HW.astype(np.int64), opacity=1)
    assert tuple(classes[3, 4]) == draw.colour_of(1)


def test_letters_that_the_font_lacks_are_written_otherwise() -> None:
    font = ImageFont.load_default(16)
    assert draw.writable("Käfer – Straße\t猫", font) == "Kafer - Strasse??"


def test_shrink_keeps_the_shape() -> None:
    assert draw.shrink(np.zeros((100, 400, 3), np.uint8), 80).shape == (20, 80, 3)
    assert draw.shrink(np.zeros((10, 40, 3), np.uint8), 80).shape == (10, 40, 3)
