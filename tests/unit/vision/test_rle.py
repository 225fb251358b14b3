"""Run lengths made, cut out and looked up without the whole mask: the same as with it."""

from __future__ import annotations

import numpy as np
import pytest

from espalier.vision import rle
from espalier.vision.masks import decode_rle, encode_rle

SIZE = (9, 11)


def masks() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    drawn = [rng.random(SIZE) < density for density in (0.0, 0.05, 0.5, 0.95, 1.0)]
    column = np.zeros(SIZE, bool)
    column[:, 3:5] = True
    return [*drawn, column]


@pytest.mark.parametrize("compressed", [True, False])
def test_a_mask_placed_in_a_picture_is_the_mask_of_the_picture(compressed: bool) -> None:
    rng = np.random.default_rng(0)
    for height, width, left, top in ((4, 5, 2, 3), (9, 11, 0, 0), (9, 2, 4, 0), (1, 1, 10, 8)):
        for density in (0.0, 0.5, 1.0):
            part = rng.random((height, width)) < density
            whole = np.zeros(SIZE, bool)
            whole[top : top + height, left : left + width] = part
            found = rle.placed(part, left, top, SIZE, compressed=compressed)
            assert found == encode_rle(whole, compressed=compressed)


@pytest.mark.parametrize("mask", masks())
def test_what_is_cut_out_is_the_mask_in_its_box(mask: np.ndarray) -> None:
    part, left, top = rle.cut_out(encode_rle(mask))
    whole = np.zeros(SIZE, bool)
    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    assert (whole == mask).all()
    if mask.any():
        assert part.any(axis=0)[[0, -1]].all()
        assert part.any(axis=1)[[0, -1]].all()
    else:
        assert part.size == 0


@pytest.mark.parametrize("mask", masks())
def test_spans_there_and_back(mask: np.ndarray) -> None:
    spans = rle.spans_of(encode_rle(mask))
    assert rle.from_spans(spans, SIZE) == encode_rle(mask)
    start, stop = spans
    parted = np.sort(np.concatenate([start, start])), np.sort(np.concatenate([start, stop]))
    assert (decode_rle(rle.from_spans(parted, SIZE)) == mask).all()


def test_pixels_are_looked_up() -> None:
    mask = masks()[2]
    rows, columns = np.array([8, 0, 3, 3]), np.array([10, 2, 0])
    found = rle.looked_up(rle.spans_of(encode_rle(mask)), SIZE[0], rows, columns)
    assert (found == mask[np.ix_(rows, columns)]).all()
