"""Pixels of each class by what the labels say: masks, outlines and what lies under them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from espalier.data import class_pixels as module
from espalier.data.class_pixels import class_pixels
from espalier.data.formats import read_index
from espalier.data.index import assemble
from espalier.data.segments import Segments
from espalier.tasks.segmentation import TASK

SQUARE = b"[[0,0,4,0,4,4,0,4]]"


def test_masks_count_what_is_not_ignored(tmp_path: Path) -> None:
    for part, values in (("images", np.zeros((6, 8, 3))), ("masks", np.array([[0] * 8, [1] * 8, [255] * 8] * 2))):
        (tmp_path / part).mkdir()
        Image.fromarray(values.astype(np.uint8)).save(tmp_path / part / "a.png")
    (tmp_path / "classes.csv").write_text("value,class\n0,ground\n1,weed\n2,crop\n255,ignore\n")
    assert class_pixels(read_index(str(tmp_path)), TASK, TASK) == (16, 16, 0)


@pytest.mark.parametrize(("sizes", "pictures"), [((10, 10), 3), ((-1, -1), 3), ((10, 10), 2)])
def test_outlines_leave_the_rest_to_the_background(
    tmp_path: Path, sizes: tuple[int, int], pictures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where sizes are not in the labels; of many pictures some are looked at."""
    monkeypatch.setattr(module, "MOST_PICTURES", pictures)
    names = [f"{n}.png" for n in range(3)]
    for name in names:
        Image.new("RGB", (10, 10)).save(tmp_path / name)
    index = assemble(
        root=str(tmp_path), source="", format="made", paths=names, classes=["background", "crop"],
        image_row=np.arange(3), class_id=np.ones(3, np.int64), segments=Segments.of([SQUARE] * 3),
        size_hw=np.array([sizes] * 3),
    )  # fmt: skip
    assert class_pixels(index, TASK, TASK) == (84 * pictures, 16 * pictures)
