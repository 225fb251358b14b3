"""Tiles to learn from: which show what, in which order they come, and that each picture is decoded once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from espalier.data import tiles as tile_room
from espalier.data.index import assemble
from espalier.data.loader import TrainingLoader
from espalier.data.samples import Samples
from espalier.data.tiles import RecentPictures, TileSamples, cut_index, tile_samples
from espalier.errors import DataError
from espalier.spec.training import AugmentSpec
from espalier.tasks.detection.task import TASK
from espalier.vision.boxes import xyxy_from_cxcywh
from espalier.vision.prepare import Prepare, ValidInput, standard_prepare
from espalier.vision.tiling import Tiling

COLOURS = np.array([(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)], np.uint8)
PREPARE = Prepare(standard_prepare((64, 64), fit="letterbox", resample="nearest").inputs, valid=(ValidInput(),))
TILING = Tiling(64, 0.25)


def made(folder: Path, pictures: list[list[tuple[int, int, int, int, int]]], size_hw: tuple[int, int]) -> Samples:
    """Grey pictures with boxes (class, x0, y0, x1, y1), each filled with its class's colour."""
    rows = []
    for n, found in enumerate(pictures):
        image = np.full((*size_hw, 3), 90, np.uint8)
        for class_id, x0, y0, x1, y1 in found:
            image[y0:y1, x0:x1] = COLOURS[class_id]
            rows.append((n, class_id, x0, y0, x1, y1))
        Image.fromarray(image).save(folder / f"{n}.png")
    table = np.array(rows, np.int64).reshape(-1, 6)
    index = assemble(
        root=str(folder), source="x", format="csv", paths=[f"{n}.png" for n in range(len(pictures))], classes="abcd",
        image_row=table[:, 0], class_id=table[:, 1], box_xyxy=table[:, 2:].astype(np.float32),
    )  # fmt: skip
    return Samples(index, TASK)


@pytest.fixture
def samples(tmp_path: Path) -> Samples:
    """Of 64 × 160 px: tiles at 0, 48 and 96."""
    first = [(0, 4, 4, 20, 20), (1, 40, 10, 60, 30), (2, 44, 40, 52, 60)]
    return made(tmp_path, [first, [], [(3, 100, 10, 150, 50)]], (64, 160))


def test_tiles_show_what_shows_enough_and_know_of_slivers(samples: Samples) -> None:
    cut = cut_index(samples.index, TILING, least=0.5)
    assert [tile.window.left for tile in cut.tiles] == [0, 48, 96] * 3
    assert cut.picture.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    shown = [cut.shown.annotations(row).class_id.tolist() for row in range(9)]
    assert shown == [[0, 1, 2], [1, 2], [], [], [], [], [], [], [3]]  # 60 % of 1 and half of 2 lie in the second
    touching = [cut.touching.annotations(row).class_id.tolist() for row in range(9)]
    assert touching == [[0, 1, 2], [1, 2], [], [], [], [], [], [3], [3]]  # 12 of 50 px of 3 lie in the second


def test_background_is_bounded_and_drawn_anew(samples: Samples) -> None:
    made = tile_samples(samples, TILING, least=0.5, background=0.67)
    assert made.per_epoch == 3 + 2
    orders = [made.order("uniform", seed=0, epoch=epoch) for epoch in range(20)]
    assert all({0, 1, 8} <= set(order.tolist()) and len(set(order.tolist())) == 5 for order in orders)
    assert set(np.concatenate(orders).tolist()) == set(range(9))
    assert np.array_equal(orders[3], made.order("uniform", seed=0, epoch=3))
    assert tile_samples(samples, TILING, least=0.5, background=0).per_epoch == 3
    assert tile_samples(samples, TILING, least=0.5, background=1000).per_epoch == 9
    assert "3 pictures make 9 tiles of 64 px: an epoch shows the 3 with objects and 2 of the 6 without" in made.words


def test_balanced_classes_are_those_that_tiles_show(samples: Samples) -> None:
    made = tile_samples(samples, TILING, least=0.5, background=0)
    order = np.concatenate([made.order("balanced", seed=0, epoch=epoch) for epoch in range(8)])
    assert (order == 8).sum() >= 5  # the one tile with class 3 comes as often as those of any other class


def test_tiles_come_picture_by_picture_where_not_all_can_be_held(
    samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tile_samples(samples, TILING, least=0.5, background=1000)
    free = made.cut.picture[made.order("uniform", seed=1, epoch=0)]
    assert (np.diff(free) != 0).sum() > 3  # small pictures: all are shuffled together
    monkeypatch.setattr(tile_room, "TOGETHER_BYTES", 1)
    read: list[int] = []
    image = Samples.image

    def counted(self: Samples, row: int) -> Any:
        read.append(row)
        return image(self, row)

    monkeypatch.setattr(Samples, "image", counted)
    tight = TileSamples(made.samples, made.cut, 0.5, 1000, RecentPictures(1))
    for row in tight.order("uniform", seed=1, epoch=0):
        tight.look(int(row))
    assert sorted(read) == [0, 1, 2]  # two are held, so that each is decoded once
    assert all(tight.cut.picture[other] == 2 for other in tight.others(7, 3, np.random.default_rng(0)))


def test_what_is_held_does_not_travel(samples: Samples) -> None:
    import pickle

    made = tile_samples(samples, TILING, least=0.5, background=1)
    made.look(0)
    assert made.recent._held
    assert not pickle.loads(pickle.dumps(made)).recent._held


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
@pytest.mark.parametrize("workers", [0, 1])
def test_boxes_land_where_pixels_land(samples: Samples, mosaic: float, workers: int) -> None:
    """After every change the box of a target is that of its colour in the input, as far as the input shows it."""
    still: dict[str, Any] = {"scale": (1, 1), "hflip": 0.5, "brightness": 0, "contrast": 0, "saturation": 0}
    augment = AugmentSpec(**still, min_visible=0.5, mosaic=mosaic, jitter=(1.0, 1.5))
    made = tile_samples(samples, TILING, least=0.5, background=1)
    if workers and mosaic:
        pytest.skip("one of the two is enough")
    checked = 0
    with TrainingLoader(
        made, TASK, PREPARE, augment, batch_size=3, workers=workers, seed=0, classes=tuple("abcd")
    ) as loader:
        assert loader.batches_per_epoch == 2
        for batch in loader.epoch(0):
            for image_CHW, box_N4, class_N in zip(
                batch.inputs["image"].numpy(), batch.targets["box_N4"], batch.targets["class_N"], strict=True
            ):
                found_N4 = xyxy_from_cxcywh(box_N4.numpy()) * 64
                for box, class_id in zip(found_N4, class_N.tolist(), strict=True):
                    x, y = (box[:2] + box[2:]) / 2
                    colour = image_CHW[:, int(y), int(x)]
                    assert np.abs(255 * colour - COLOURS[class_id]).max() < 90
                    checked += 1
    assert checked >= 3


def test_an_object_is_cut_at_the_tile_and_a_sliver_is_an_ignored_region(samples: Samples) -> None:
    made = tile_samples(samples, TILING, least=0.5, background=1)
    look = made.look(7)  # 48 to 112 of the third picture, whose object begins at 100
    geometry = look.geometry(PREPARE.place(look.image_HWC)[1])
    target = TASK.targets(look.sample, geometry, tuple("abcd"))
    assert len(target["box_N4"]) == 0
    np.testing.assert_allclose(xyxy_from_cxcywh(target["ignored_K4"]) * 64, [[52, 10, 64, 50]], atol=1e-4)
    assert look.sample.group == "2.png"
    assert "tile 2 of 3 at 48, 0" in look.sample.name


def test_a_picture_is_cut_as_it_is_whatever_size_its_labels_say(samples: Samples) -> None:
    wrong = replace(samples.index, size_hw=np.full((3, 2), 4000, np.int32))
    made = tile_samples(replace(samples, index=wrong), TILING, least=0.5, background=1000)
    assert [made.look(row).image_HWC.shape for row in range(len(made))] == [(64, 64, 3)] * 9


def test_a_picture_that_changes_during_training_is_told(samples: Samples, tmp_path: Path) -> None:
    made = tile_samples(samples, TILING, least=0.5, background=1)
    Image.new("RGB", (64, 64)).save(tmp_path / "0.png")
    with pytest.raises(DataError, match=r"has 64 × 64 px now, and had 160 × 64 px"):
        made.look(0)


def test_objects_that_no_tile_shows_are_counted(samples: Samples) -> None:
    assert cut_index(samples.index, TILING, least=1.0).never_shown == 0
    assert cut_index(samples.index, Tiling(32, 0.0), least=1.0).never_shown == 1  # of 50 × 40 px
    with pytest.raises(DataError, match=r"no tile of 32 px shows 100% of an object\n.*network\.input\.tile_px"):
        tile_samples(samples.subset([2]), Tiling(32, 0.0), least=1.0, background=1)


def test_a_picture_whose_size_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    index = assemble(
        root=str(tmp_path), source="x", format="csv", paths=["a.png"], classes=["a"],
        image_row=np.zeros(0, np.int64), class_id=np.zeros(0, np.int64),
    )  # fmt: skip
    with pytest.raises(DataError, match="no picture we know"):
        cut_index(index, TILING, least=0.2)
