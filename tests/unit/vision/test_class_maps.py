"""Class maps through a picture's geometry, there and back."""

from __future__ import annotations

import numpy as np
import pytest

from espalier.vision.class_maps import dtype_of, exact, ignored, to_input, to_source
from espalier.vision.geometry import Geometry

MAP = np.array([[0, 0, 1], [2, 2, 1]], np.uint8)


@pytest.mark.parametrize(
    ("classes", "dtype", "nothing"), [(1, "uint8", 255), (255, "uint8", 255), (256, "uint16", 65535)]
)
def test_what_a_map_is_made_of(classes: int, dtype: str, nothing: int) -> None:
    assert dtype_of(classes) == dtype
    assert ignored(dtype_of(classes)) == nothing


def test_a_larger_input_repeats_pixels_and_padding_is_outside() -> None:
    geometry = Geometry.stretch((2, 3), (4, 6)).then(Geometry.pad((4, 6), (5, 8)))
    found = to_input(MAP, geometry, outside=255)
    assert found[:4, :6].tolist() == np.repeat(np.repeat(MAP, 2, 0), 2, 1).tolist()
    assert (found[4:] == 255).all()
    assert (found[:, 6:] == 255).all()
    assert to_source(found, geometry).tolist() == MAP.tolist()


@pytest.mark.parametrize(("horizontal", "vertical"), [(True, False), (False, True), (True, True)])
def test_a_mirror_image_turns_back(horizontal: bool, vertical: bool) -> None:
    geometry = Geometry.flip((2, 3), horizontal=horizontal, vertical=vertical)
    found = to_input(MAP, geometry, outside=255)
    assert found.tolist() == MAP[:: -1 if vertical else 1, :: -1 if horizontal else 1].tolist()
    assert to_source(found, geometry).tolist() == MAP.tolist()


def test_a_crop_beyond_the_picture_is_outside() -> None:
    geometry = Geometry.crop((2, 3), top=1, left=-1, size_hw=(3, 3))
    assert to_input(MAP, geometry, outside=9).tolist() == [[9, 2, 2], [9, 9, 9], [9, 9, 9]]


def test_beyond_a_crop_the_nearest_pixel_speaks() -> None:
    geometry = Geometry.crop((2, 3), top=0, left=1, size_hw=(2, 2))
    assert to_source(np.array([[5, 1], [6, 1]], np.uint8), geometry).tolist() == [[5, 5, 1], [6, 6, 1]]


def test_exact_is_the_argmax_of_bilinear_logits() -> None:
    cv2 = pytest.importorskip("cv2")
    logits = np.random.default_rng(0).normal(size=(3, 8, 6)).astype(np.float32)
    geometry = Geometry.identity((32, 24))
    wanted = np.stack([cv2.resize(plane, (24, 32), interpolation=cv2.INTER_LINEAR) for plane in logits]).argmax(axis=0)
    assert (exact(logits, geometry) == wanted).mean() > 0.998  # OpenCV's weights are float32
    flipped = Geometry.flip((32, 24), horizontal=True)
    assert (exact(logits, flipped)[:, ::-1] == wanted).mean() > 0.998
