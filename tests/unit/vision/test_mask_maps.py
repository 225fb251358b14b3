"""Masks through a geometry: against doing it pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from espalier.vision.geometry import Geometry
from espalier.vision.mask_maps import to_input, to_source
from espalier.vision.masks import decode_rle, encode_rle

SOURCE = (30, 40)
GEOMETRIES = {
    "same": Geometry.identity(SOURCE),
    "smaller, padded": Geometry(SOURCE, (20, 20), (0.4, 0.4), (0.0, 0.0), (12, 16)),
    "larger": Geometry.stretch(SOURCE, (64, 96)),
    "mirrored": Geometry.stretch(SOURCE, (32, 16)).then(Geometry.flip((32, 16), horizontal=True)),
    "upside down": Geometry.stretch(SOURCE, (32, 48)).then(Geometry.flip((32, 48), vertical=True)),
    "cut out": Geometry.crop(SOURCE, top=5, left=13, size_hw=(10, 20)).then(Geometry.stretch((10, 20), (24, 32))),
}


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_an_rle_in_the_input_is_the_mask_under_each_pixels_middle(geometry: Geometry) -> None:
    mask = np.random.default_rng(1).random(SOURCE) < 0.5
    mask[:, 20:] &= np.arange(30)[:, None] < 20
    found = to_input(encode_rle(mask), geometry)
    wanted = np.zeros(geometry.input_hw, bool)
    for y in range(geometry.valid_hw[0]):
        for x in range(geometry.valid_hw[1]):
            column, row = np.floor(geometry.to_source(np.array([[x + 0.5, y + 0.5]]))[0] + 1e-9).astype(int)
            if 0 <= row < SOURCE[0] and 0 <= column < SOURCE[1]:
                wanted[y, x] = mask[row, column]
    assert (found == wanted).all()


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_a_polygon_in_the_input_is_about_its_mask_there(geometry: Geometry) -> None:
    polygon = [4.0, 3, 36, 5, 30, 28, 8, 22]
    height, width = geometry.valid_hw
    found = to_input([polygon], geometry)
    assert found.shape == geometry.input_hw
    assert not found[height:].any()
    assert not found[:, width:].any()
    points = geometry.to_input(np.reshape(polygon, (-1, 2)))
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    inside = np.zeros((height, width), bool)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        inside ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0 + 1e-12) + x0)
    seen = found[:height, :width]
    assert (seen & inside).sum() / (seen | inside).sum() > 0.9


def by_hand(logits: NDArray[np.float64], geometry: Geometry, step: tuple[float, float]) -> NDArray[np.bool_]:
    """Bilinear between the middles of cells, pixel by pixel."""
    y, x = np.mgrid[: SOURCE[0], : SOURCE[1]] + 0.5
    place = geometry.to_input(np.stack([x, y], axis=-1).reshape(-1, 2)) / step - 0.5
    height, width = logits.shape
    u, v = np.clip(place[:, 0], 0, width - 1), np.clip(place[:, 1], 0, height - 1)
    i, j = np.minimum(u.astype(int), width - 2), np.minimum(v.astype(int), height - 2)
    a, b = u - i, v - j
    low = logits[j, i] * (1 - a) + logits[j, i + 1] * a
    high = logits[j + 1, i] * (1 - a) + logits[j + 1, i + 1] * a
    return ((low * (1 - b) + high * b) > 0).reshape(SOURCE)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("bias", [-9.0, -0.5, 0.0, 0.5, 9.0])
def test_logits_in_the_source_are_bilinear(geometry: Geometry, bias: float) -> None:
    height, width = (-(-side // 4) for side in geometry.input_hw)
    step = (geometry.input_hw[1] / width, geometry.input_hw[0] / height)
    logits = np.random.default_rng(2).normal(bias, 1, (height, width))
    whole = to_source(logits, (0, 0, SOURCE[1], SOURCE[0]), (0, 0), step, geometry)
    wanted = by_hand(logits, geometry, step)
    assert (decode_rle(whole) == wanted).all()
    part = to_source(logits, (7, 3, 31, 22), (0, 0), step, geometry)
    wanted[:3], wanted[22:], wanted[:, :7], wanted[:, 31:] = False, False, False, False
    assert part == encode_rle(wanted)


def test_a_part_of_the_map_will_do() -> None:
    geometry = GEOMETRIES["larger"]
    logits = np.random.default_rng(3).normal(0, 1, (16, 24))
    window = (10, 8, 20, 16)
    whole = to_source(logits, window, (0, 0), (4.0, 4.0), geometry)
    assert to_source(logits[3:10, 4:14], window, (4, 3), (4.0, 4.0), geometry) == whole


def test_a_map_of_one_cell() -> None:
    found = to_source(np.ones((1, 1)), (2, 3, 5, 7), (0, 0), (40.0, 30.0), GEOMETRIES["same"])
    assert decode_rle(found).sum() == 12
