"""The grid of tiles: it covers the picture, never with a sliver, and is the same wherever it is read again."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.errors import ModelError
from espalier.tasks.base import ImageQuery
from espalier.vision.tiling import Tiling


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 900), st.integers(1, 900), st.integers(32, 300), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75])
)  # fmt: skip
def test_tiles_cover_the_picture_and_overlap(height: int, width: int, tile_px: int, overlap: float) -> None:
    tiles = Tiling(tile_px, overlap).tiles((height, width))
    seen = np.zeros((height, width), np.bool_)
    for number, tile in enumerate(tiles):
        assert tile.window.size_hw == (min(height, tile_px), min(width, tile_px))  # none is a sliver
        assert tile.window.of(seen).shape == tile.window.size_hw  # all of it is inside
        assert (tile.number, tile.count, tile.is_last) == (number, len(tiles), number + 1 == len(tiles))
        tile.window.of(seen)[:] = True
    assert seen.all()
    starts = sorted({tile.window.left for tile in tiles})
    assert all(b - a <= tile_px - round(overlap * tile_px) for a, b in pairwise(starts))


def test_a_grid_that_can_be_checked_in_the_head() -> None:
    windows = [tile.window for tile in Tiling(100, 0.25).tiles((100, 250))]
    assert [window.box_xyxy for window in windows] == [(0, 0, 100, 100), (75, 0, 175, 100), (150, 0, 250, 100)]
    geometry = windows[1].geometry((100, 250))
    assert geometry.boxes_to_input(np.array([[80, 10, 90, 20]])).tolist() == [[5, 10, 15, 20]]
    assert geometry.source_hw == (100, 250)


def test_a_picture_no_larger_than_a_tile_is_one_tile() -> None:
    (tile,) = Tiling(100, 0.5).tiles((100, 60))
    assert tile.window.box_xyxy == (0, 0, 60, 100)
    assert tile.is_last


def test_a_query_is_cut_without_copying() -> None:
    image = np.arange(40 * 100 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 100, 3)
    parts = list(Tiling(40, 0.0).cut(ImageQuery(image, "x")))
    assert [part.name for _, part in parts] == ["x"] * 3
    assert all(np.shares_memory(part.image_HWC, image) for _, part in parts)
    assert np.array_equal(parts[2][1].image_HWC, image[:, 60:])


def test_json_round_trip() -> None:
    tiling = Tiling(320, 0.25)
    assert Tiling.from_json(tiling.to_json()) == tiling


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"version": 2, "tile_px": 320, "overlap": 0.25}, "version 2 is unknown"),
        ({"version": True, "tile_px": 320, "overlap": 0.25}, "version True is unknown"),
        ({"tile_px": 320, "overlap": 0.25}, "version None is unknown"),
        ({"version": 1, "tile_px": 320, "overlap": 0.25, "shape": "hexagon"}, "not understood"),
        ({"version": 1, "tile_px": "320", "overlap": 0.25}, "not understood"),
        ({"version": 1, "tile_px": 4, "overlap": 0.25}, "32 to"),
        ({"version": 1, "tile_px": 320, "overlap": 1.0}, "overlap of 0 to 0.75"),
        ({"version": 1, "tile_px": 320, "overlap": float("nan")}, "are none"),
        ("tiles", "no JSON object"),
    ],
)
def test_what_is_not_known_is_refused(value: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        Tiling.from_json(value)
