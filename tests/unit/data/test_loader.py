"""The loader gives the same batches however it is entered and whoever makes them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from espalier.data.formats import read_index
from espalier.data.index import assemble
from espalier.data.loader import LoadedBatch, TrainingLoader
from espalier.data.order import epoch_order
from espalier.data.samples import Samples
from espalier.errors import DataError, ImageError, WorkError
from espalier.spec.training import AugmentSpec
from espalier.tasks.base import get
from espalier.vision.prepare import Prepare, ValidInput, standard_prepare

RANDOM = AugmentSpec(mixup=0.4, cutmix=0.4, vflip=0.5, rotate_deg=10, hue=0.1, blur=0.3, noise=0.3, erase=0.3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("unequal")
    rng = np.random.default_rng(0)
    for name, count in (("many", 12), ("few", 3), ("one", 1)):
        (root / name).mkdir()
        for n in range(count):
            Image.fromarray(rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(root / name / f"{n}.png")
    return root


def loader(
    folder: Path,
    *,
    augment: AugmentSpec | None = RANDOM,
    prepare: Prepare = standard_prepare((16, 16)),  # noqa: B008  (frozen)
    **how: object,
) -> TrainingLoader:
    task = get("classification")
    index = read_index(str(folder))
    settings: dict[str, object] = {"batch_size": 4, "workers": 0, "seed": 7, "classes": index.classes, **how}
    return TrainingLoader(Samples(index, task), task, prepare, augment, **settings)  # type: ignore[arg-type]


def same(a: Iterator[LoadedBatch], b: Iterator[LoadedBatch]) -> bool:
    pairs = list(zip(list(a), list(b), strict=True))
    return bool(pairs) and all(
        x.names == y.names
        and torch.equal(x.inputs["image"], y.inputs["image"])
        and torch.equal(x.targets["class_C"], y.targets["class_C"])
        for x, y in pairs
    )


def test_batches_do_not_depend_on_the_workers_nor_on_where_the_epoch_is_entered(folder: Path) -> None:
    with loader(folder, workers=2) as two:
        assert same(loader(folder).epoch(3), two.epoch(3))
        assert same(iter(list(loader(folder).epoch(3))[2:]), two.epoch(3, start_batch=2))
        assert not same(loader(folder).epoch(3), two.epoch(4))


def test_an_epoch_left_early_does_not_spoil_the_next(folder: Path) -> None:
    with loader(folder, workers=1) as one:
        next(one.epoch(0))
        assert same(one.epoch(1), loader(folder).epoch(1))


def test_a_forgotten_loader_leaves_no_process_behind(folder: Path) -> None:
    part = loader(folder, workers=1)
    list(part.epoch(0))
    assert part._pool is not None
    process = part._pool._workers[0]._process
    del part
    gc.collect()
    assert process.wait(timeout=20) != 0


def test_a_worker_that_dies_is_told(folder: Path) -> None:
    with loader(folder, workers=1) as part:
        batches = part.epoch(0)
        next(batches)
        assert part._pool is not None
        part._pool._workers[0]._process.kill()
        with pytest.raises(WorkError, match="ended with code -9"):
            list(part.epoch(1))


def test_shapes_and_values(folder: Path) -> None:
    batch = next(loader(folder, augment=None).epoch(0))
    assert batch.inputs["image"].shape == (4, 3, 16, 16)
    assert batch.inputs["image"].dtype == torch.float32
    assert batch.targets["class_C"].sum(dim=1).tolist() == [1, 1, 1, 1]
    assert 0 <= float(batch.inputs["image"].min()) < float(batch.inputs["image"].max()) <= 1


def test_without_augmentation_a_picture_is_as_in_deployment(folder: Path) -> None:
    part = loader(folder, augment=None)
    batch = next(part.epoch(0))
    index = read_index(str(folder))
    samples = Samples(index, get("classification"))
    rows = epoch_order(index, "uniform", seed=7, epoch=0)[:4]
    deployed = [standard_prepare((16, 16))(samples[int(row)].query).arrays["image"] for row in rows]
    np.testing.assert_array_equal(batch.inputs["image"].numpy(), np.stack(deployed))


def test_every_picture_comes_once_an_epoch(folder: Path) -> None:
    names = [name for batch in loader(folder, drop_last=False, batch_size=5).epoch(1) for name in batch.names]
    assert len(names) == len(set(names)) == 16


def test_a_set_smaller_than_a_batch_is_filled_up(folder: Path) -> None:
    whole = loader(folder, batch_size=40)
    (batch,) = whole.epoch(0)
    assert whole.batches_per_epoch == 1
    assert len(batch.names) == 40
    assert len(set(batch.names)) == 16


def test_devices_share_an_epoch(folder: Path) -> None:
    parts = [loader(folder, rank=rank, world=2) for rank in (0, 1)]
    assert [part.batches_per_epoch for part in parts] == [2, 2]
    names = [name for part in parts for batch in part.epoch(0) for name in batch.names]
    assert len(set(names)) == 16


def test_balanced_sampling_gives_each_class_its_share(folder: Path) -> None:
    index = read_index(str(folder))
    order = epoch_order(index, "balanced", seed=1, epoch=0)
    assert sorted(np.bincount(index.class_id[order]).tolist()) == [5, 5, 6]
    assert len(set(order[index.class_id[order] == index.classes.index("few")].tolist())) == 3
    assert not np.array_equal(order, epoch_order(index, "balanced", seed=1, epoch=1))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_is_named(folder: Path, tmp_path: Path, workers: int) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "broken.png").write_bytes((folder / "one" / "0.png").read_bytes()[:200])
    with loader(tmp_path, workers=workers, batch_size=1) as part, pytest.raises(ImageError, match=r"broken\.png"):
        next(part.epoch(0))


def test_an_empty_set_is_refused(folder: Path) -> None:
    index = read_index(str(folder)).subset([])
    task = get("classification")
    with pytest.raises(DataError, match="no pictures"):
        TrainingLoader(
            Samples(index, task), task, standard_prepare((8, 8)), None, batch_size=1, workers=0, seed=0, classes=()
        )


def test_a_network_that_asks_is_told_which_part_of_each_picture_is_no_padding(folder: Path) -> None:
    prepare = Prepare(standard_prepare((24, 24), fit="letterbox").inputs, valid=(ValidInput(),))
    batch = next(loader(folder, augment=None, prepare=prepare).epoch(0))
    assert batch.inputs["valid_hw"].tolist() == [[20, 24]] * 4


class TestWorst:
    """The batch that the memory probe tries: as large as any, from pictures of different shapes and fullness."""

    SIZES = ((40, 40), (20, 120), (120, 30), (48, 64))  # height, width
    BOXES = (1, 2, 5, 0)

    def loader(self, folder: Path, augment: AugmentSpec | None = None, *, batch: int = 3) -> TrainingLoader:
        rng = np.random.default_rng(0)
        for number, size_hw in enumerate(self.SIZES):
            Image.fromarray(rng.integers(0, 255, (*size_hw, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        row = np.repeat(np.arange(4), self.BOXES)
        index = assemble(
            root=str(folder), source="s", format="made", paths=[f"{n}.png" for n in range(4)], classes=["a"],
            image_row=row, class_id=np.zeros(len(row), np.int64),
            box_xyxy=np.array([[n, 1, n + 5, 9] for n in range(len(row))], np.float32),
        )  # fmt: skip
        task = get("detection")
        placed = standard_prepare(size_hw=(64, 96), fit="capped_edges")
        prepare = Prepare(placed.inputs, valid=(ValidInput(),))
        return TrainingLoader(Samples(index, task), task, prepare, augment, batch_size=batch, workers=0, seed=0,
                              classes=["a"])  # fmt: skip

    def test_it_is_the_fullest_picture_as_large_as_the_largest_together(self, tmp_path: Path) -> None:
        loader = self.loader(tmp_path)
        worst = loader.worst()
        assert worst.names == ["2.png"] * 3
        assert [len(boxes) for boxes in worst.targets["box_N4"]] == [5] * 3
        shapes = [batch.inputs["image"].shape for epoch in range(4) for batch in loader.epoch(epoch)]
        assert worst.inputs["image"].shape == (3, 3, 96, 96)
        assert all(shape[2] <= 96 and shape[3] <= 96 for shape in shapes)

    def test_a_mosaic_may_hold_four_of_it(self, tmp_path: Path) -> None:
        worst = self.loader(tmp_path, AugmentSpec(mosaic=0.5), batch=1).worst()
        assert [len(boxes) for boxes in worst.targets["box_N4"]] == [20]

    def test_no_header_is_read_where_every_picture_gets_one_size(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loader = self.loader(tmp_path)
        prepare = standard_prepare(size_hw=(64, 96), fit="stretch")
        fixed = replace(loader._maker, prepare=Prepare(prepare.inputs, valid=(ValidInput(),)))
        monkeypatch.setattr("espalier.data.samples.known_sizes", None)
        assert fixed.worst(2).inputs["image"].shape == (2, 3, 64, 96)
