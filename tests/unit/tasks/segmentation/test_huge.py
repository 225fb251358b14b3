"""Huge pictures go through in parts; the parts make what the whole would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from espalier.tasks.segmentation import counts, draw
from espalier.tasks.segmentation import tiles as joining
from espalier.tasks.segmentation.prediction import SegmentMap
from espalier.tasks.segmentation.sample import SegmentationTarget
from espalier.vision import class_maps, mask_file, rle
from espalier.vision.mask_file import MaskValues, as_numbers
from espalier.vision.masks import encode_rle
from espalier.vision.tiling import Tiling

CLASSES = ("background", "crop", "weed")


def blocky(seed: int, size_hw: tuple[int, int] = (97, 120)) -> NDArray[np.uint8]:
    """Patches of three classes."""
    coarse = np.random.default_rng(seed).integers(0, 3, (size_hw[0] // 7 + 1, size_hw[1] // 9 + 1))
    return np.kron(coarse, np.ones((7, 9)))[: size_hw[0], : size_hw[1]].astype(np.uint8)


def counted() -> Any:
    truth = blocky(1)
    truth[10:20] = 255
    return counts.Counter(3)(blocky(2), truth).tolist()


def drawn() -> Any:
    image = np.random.default_rng(0).integers(0, 255, (2100, 90, 3), dtype=np.uint8)  # too long to be enlarged
    truth = SegmentationTarget(3, class_id=np.array([1]), outline=([[5.0, 5, 80, 5, 80, 2000]],), uncovered=0)
    return draw.draw(image, SegmentMap.of(blocky(3, (2100, 90))), CLASSES, truth=truth).tolist()


def coloured() -> Any:
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 9, 255]], np.uint8)[blocky(4)]
    values = MaskValues(((0, 0), (0xFF0000, 1)), 3, colours=True, others=2)
    return values.classes_of(as_numbers(colours, "a"), where="a").tolist()


def ids() -> Any:
    return MaskValues(((0, 2), (1, -1), (2, 0)), 3).classes_of(blocky(5), where="a").tolist()


def summed() -> Any:
    return class_maps.counted(blocky(6)).tolist()


@pytest.mark.parametrize(
    ("made", "room", "name"),
    [(counted, counts, "_PIXELS_AT_ONCE"), (drawn, draw, "_PIXELS_AT_ONCE"), (coloured, mask_file, "_PIXELS_AT_ONCE"),
     (ids, mask_file, "_PIXELS_AT_ONCE"), (summed, class_maps, "_VALUES_AT_ONCE")],
)  # fmt: skip
def test_parts_make_what_the_whole_would(
    made: Callable[[], Any], room: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made()
    monkeypatch.setattr(room, name, 700)
    assert made() == whole


def test_outlines_cut_along_rows_fill_the_region_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    mask_HW = blocky(7) == 1
    monkeypatch.setattr(rle, "MOST_OUTLINED_PX", 120 * 10)
    outlines = rle.polygons(encode_rle(mask_HW))
    area = sum(abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
               for x, y in ((np.array(flat[::2]), np.array(flat[1::2])) for flat in outlines))  # fmt: skip
    assert area >= mask_HW.sum()  # more where a region holds a hole of ten rows or fewer


def test_a_joined_map_is_the_whole_ones_wherever_a_network_sees_as_far_as_the_overlap() -> None:
    """Each pixel is a sum of its surroundings, as far as `reach`; outside a tile there is nothing to see."""
    reach, image_HW = 6, np.random.default_rng(0).integers(0, 9, (150, 211)).astype(np.int64)

    def said(part_HW: NDArray[np.int64]) -> SegmentMap:
        padded = np.pad(part_HW, reach)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1, 2 * reach + 1))
        return SegmentMap.of((windows.sum(axis=(2, 3)) % 3).astype(np.uint8))

    tiles = Tiling(64, 0.25).tiles((150, 211))  # neighbours share 16 px or more: 8 on each side of the seam
    parts = [said(tile.window.of(image_HW)) for tile in tiles]
    found = joining.joined(parts, [tile.window for tile in tiles], (150, 211))
    assert len(tiles) == 15
    assert (found.class_HW == said(image_HW).class_HW).all()
