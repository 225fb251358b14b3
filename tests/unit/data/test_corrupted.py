"""Pictures under corruptions: the same for any number of workers and in any order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from espalier.data import corrupted as corrupting
from espalier.data.corrupted import At, CorruptedMaker, CorruptedPicture, CorruptedPlan, corrupted
from espalier.data.formats import read_index
from espalier.data.samples import Samples
from espalier.errors import ImageError
from espalier.tasks import base as tasks
from espalier.vision.corruptions import Corruption
from espalier.vision.prepare import standard_prepare
from espalier.vision.tiling import Tiling

WANTED = (Corruption("gaussian_noise", 3), Corruption("fog", 1), Corruption("glass_blur", 2), Corruption("frost", 5))


def maker(folder: Path, at: At = "input", count: int = 5) -> CorruptedMaker:
    samples = Samples(read_index(str(folder)), tasks.get("classification")).spread(count)
    return CorruptedMaker(samples, standard_prepare((24, 24)), 3, at)


def same(a: list[CorruptedPicture], b: list[CorruptedPicture]) -> bool:
    return len(a) == len(b) > 0 and all(
        x.plan == y.plan
        and x.sample.name == y.sample.name
        and all(np.array_equal(p.images["image"], q.images["image"]) for p, q in zip(x.placed, y.placed, strict=True))
        for x, y in zip(a, b, strict=True)
    )


def test_workers_change_nothing(photos: Path) -> None:
    with (
        corrupted(maker(photos), WANTED, workers=0) as alone,
        corrupted(maker(photos), WANTED, workers=2) as two,
    ):
        first, second = list(alone), list(two)
    assert same(first, second)
    assert [picture.plan.row for picture in first] == list(range(5))
    assert all(picture.sample.query is None for picture in first)


def test_neither_order_nor_company_changes_a_picture(photos: Path) -> None:
    made = maker(photos)
    whole = made(CorruptedPlan(2, WANTED))
    alone = made(CorruptedPlan(2, WANTED[3:]))
    assert np.array_equal(whole.placed[3].images["image"], alone.placed[0].images["image"])


def test_of_no_pictures_there_are_none(photos: Path) -> None:
    with corrupted(maker(photos, count=0), WANTED, workers=0) as made:
        assert list(made) == []


def test_at_the_source_the_picture_is_corrupted_before_it_is_resized(photos: Path) -> None:
    plan = CorruptedPlan(0, (Corruption("gaussian_noise", 5),))
    clean = maker(photos).prepare.placed(maker(photos).samples[0].query).images["image"].astype(float)
    spread = [(maker(photos, at)(plan).placed[0].images["image"] - clean).std() for at in ("input", "source")]
    assert spread[1] < 0.7 * spread[0]  # resizing averages the noise away


def test_large_pictures_are_handed_over_in_parts(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with corrupted(maker(photos), WANTED, workers=0) as made:
        whole = [placed for picture in made for placed in picture.placed]
    monkeypatch.setattr(corrupting, "MOST_BYTES", 2 * 24 * 24 * 3)
    with corrupted(maker(photos), WANTED, workers=0) as made:
        parts = list(made)
    assert [len(picture.placed) for picture in parts] == [2] * 10
    flat = [placed for picture in parts for placed in picture.placed]
    assert all(np.array_equal(a.images["image"], b.images["image"]) for a, b in zip(whole, flat, strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_cannot_be_read_is_told(tmp_path: Path, workers: int) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (30, 30)).save(tmp_path / name / "1.png")
    made = maker(tmp_path, count=2)
    (tmp_path / "b" / "1.png").write_bytes(b"no picture")
    with corrupted(made, WANTED, workers=workers) as found, pytest.raises(ImageError, match=r"b/1\.png"):
        list(found)


@pytest.mark.parametrize("at", ["input", "source"])
def test_of_a_large_picture_every_tile_is_corrupted(photos: Path, at: At) -> None:
    whole = maker(photos, at, count=1)
    height, width = whole.samples.image(0).shape[:2]
    tiling = Tiling(32, 0.25)
    count = len(tiling.tiles((height, width)))
    assert count > 1
    made = replace(whole, tiling=tiling)(CorruptedPlan(0, WANTED[:2]))
    tiles = [placed.tile for placed in made.placed]
    assert [tile.number for tile in tiles if tile is not None] == [*range(count)] * 2
    pictures = [placed.images["image"] for placed in made.placed]
    assert not np.array_equal(pictures[0], pictures[1])
    again = replace(whole, tiling=tiling)(CorruptedPlan(0, WANTED[1:2]))
    assert np.array_equal(again.placed[1].images["image"], pictures[count + 1])
