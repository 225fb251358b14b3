"""Packed class maps: what goes in comes out, whatever it is like, and takes little room."""

from __future__ import annotations

import numpy as np
import pytest

from espalier.tasks.segmentation import packed
from espalier.tasks.segmentation.packed import PackedMap


def noise(size_hw: tuple[int, int], dtype: type) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, size_hw, endpoint=True).astype(dtype)


@pytest.mark.parametrize("at_once", [1 << 22, 1000, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "like", ["one class", "blocks", "noise", "half noise", "a pixel", "a row", "a column", "turned"]
)
def test_what_goes_in_comes_out(like: str, dtype: type, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "_PIXELS_AT_ONCE", at_once)
    blocks = np.kron(noise((4, 3), dtype), np.ones((16, 32), dtype))
    half = blocks.copy()
    half[:32] = noise((32, 96), dtype)
    given = {
        "one class": np.full((40, 30), 7, dtype), "blocks": blocks, "noise": noise((50, 60), dtype), "half noise": half,
        "a pixel": noise((1, 1), dtype), "a row": noise((1, 90), dtype), "a column": blocks[:, :1], "turned": blocks.T,
    }[like]  # fmt: skip
    kept = PackedMap.of(given)
    found = kept.class_HW
    assert found.dtype == dtype
    assert kept.size_hw == found.shape
    assert not found.flags.writeable
    np.testing.assert_array_equal(found, given)


def test_it_takes_little_room() -> None:
    blocks = np.kron(noise((8, 8), np.uint8), np.ones((64, 64), np.uint8))
    assert PackedMap.of(blocks).nbytes < blocks.size / 200
    pixels = noise((200, 200), np.uint8)
    assert PackedMap.of(pixels).nbytes < 1.01 * pixels.size
