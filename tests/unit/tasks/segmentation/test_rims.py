"""Codes of classes, and rims by their union against rims looked for pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from espalier.tasks.segmentation import counts
from espalier.tasks.segmentation.rims import Room, code_table, coded, rims


@pytest.mark.parametrize(("classes", "dtype"), [(1, "u1"), (70, "u1"), (71, "u2"), (300, "u2"), (12_871, "u4")])
def test_no_code_is_within_another(classes: int, dtype: str) -> None:
    table = code_table(classes, 256 if classes <= 255 else 65_536)
    assert table.dtype == np.dtype(dtype)
    assert not table[classes:].any()
    code = table[:classes].tolist()
    assert {value.bit_count() for value in code} == {table.itemsize * 4}
    assert len(set(code)) == classes


def looked_for(class_HW: np.ndarray, reach: int, nothing: int) -> np.ndarray:
    """The rims by the definition."""
    height, width = class_HW.shape
    found = np.ones(class_HW.shape, bool)
    for y in range(reach, height - reach):
        for x in range(reach, width - reach):
            seen = set(class_HW[y - reach : y + reach + 1, x - reach : x + reach + 1].ravel().tolist()) - {nothing}
            found[y, x] = len(seen) > 1
    return found


@pytest.mark.parametrize("classes", [2, 19, 70, 200, 300])
def test_rims_are_where_another_class_is_near(classes: int) -> None:
    rng = np.random.default_rng(classes)
    dtype = np.uint8 if classes <= 255 else np.uint16
    nothing = np.iinfo(dtype).max
    class_HW = np.kron(rng.integers(0, classes, (4, 5)), np.ones((9, 8), int)).astype(dtype)
    class_HW[10:20, 13:19] = nothing  # across such a strip two classes still see each other
    room, table = Room(), code_table(classes, int(nothing) + 1)
    for reach in (1, 3, 4, 30):
        code_HW = coded(class_HW, table, room("code", class_HW.shape, table.dtype))
        found = rims(code_HW, reach, room, np.empty(class_HW.shape, bool))
        known = class_HW != nothing
        np.testing.assert_array_equal(found[known], looked_for(class_HW, reach, int(nothing))[known])


def test_a_map_may_lie_in_memory_in_any_way() -> None:
    class_HW = np.kron(np.arange(6).reshape(2, 3), np.ones((20, 20), int)).astype(np.uint8)
    said_HW = np.roll(class_HW, 2, axis=1)
    plain = counts.Counter(6)(said_HW, class_HW)
    turned = counts.Counter(6)(np.asfortranarray(said_HW), class_HW[:, ::-1][:, ::-1])
    np.testing.assert_array_equal(turned, plain)


@pytest.mark.parametrize("classes", [5, 62, 63, 255])
def test_a_picture_that_is_counted_in_bands_counts_the_same(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    truth = np.kron(rng.integers(0, classes, (9, 6)), np.ones((10, 10), int)).astype(np.uint8)
    said = np.roll(truth, 3, axis=0)
    truth[35:40] = 255
    whole = counts.Counter(classes)(said, truth)
    for name, value in (("_PIXELS_AT_ONCE", 600), ("_COUNTED_AT_ONCE", 130)):
        monkeypatch.setattr(counts, name, value)
        np.testing.assert_array_equal(counts.Counter(classes)(said, truth), whole)
