"""Words that name a place of the picture, for a tile of it."""

from __future__ import annotations

import pytest

from espalier.errors import UsageError
from espalier.tasks.places import inside
from espalier.vision.tiling import Window

TILE = Window(top=100, left=200, height=64, width=64)


@pytest.mark.parametrize(
    ("word", "moved"),
    [
        ("@210:105", "@10:5"),
        ("210,105", "@10:5"),
        ("crown@200:163", "crown@0:63"),
        ("crown@190:90.5:260:120", "crown@-10:-9.5:60:20"),
        ("crown", "crown"),
        ("box 0", "box 0"),
        ("3", "3"),
    ],
)
def test_a_place_counts_from_the_tiles_corner(word: str, moved: str) -> None:
    assert inside([word], TILE) == [moved]


@pytest.mark.parametrize("word", ["@10:105", "crown@264:105", "210,164"])
def test_a_pixel_outside_the_tile_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="in no tile"):
        inside([word], TILE)
