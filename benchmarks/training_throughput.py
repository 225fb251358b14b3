"""Training resnet18 at 160 px on the CPU: our loop and loader against a plain PyTorch loop over a torch DataLoader.

    python benchmarks/training_throughput.py [--steps 40] [--batch 16] [--workers 1]

Both read the same drawn 320×240 JPEGs, make the same random changes with the same code, and have the same batch size,
number of workers, memory layout, optimiser, clipping and number of threads. They take turns step by step in one
process, so that whatever else the machine does meets both alike. A step's time includes getting its data; the first
three don't count. Fails below 0.97 of plain PyTorch's pictures a second (medians over the steps). Then our loop runs
alone for the share of its time in which it waits for data.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image

from espalier.data.augment import augment
from espalier.data.batches import BatchMaker
from espalier.data.formats import read_index
from espalier.data.loader import LoadedBatch, TrainingLoader
from espalier.data.order import ITEM, generator
from espalier.data.samples import Samples
from espalier.layers.model import Batch, TrainableModel
from espalier.networks.classifier.model import build
from espalier.networks.classifier.spec import ClassifierSpec
from espalier.spec.sections import BackboneSpec, InputSpec
from espalier.spec.training import AugmentSpec, TrainSpec
from espalier.tasks import base as tasks
from espalier.trainer.loop import Loop
from espalier.trainer.partners import Loader
from espalier.vision.prepare import standard_prepare

LEAST, UNCOUNTED, SIZE = 0.97, 3, 160
CLASSES = ("a", "b", "c", "d")


def draw(folder: Path, count: int) -> None:
    """`folder/<class>/<n>.jpg`, smooth noise of 320×240 px."""
    rng = np.random.default_rng(0)
    for n in range(count):
        small = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        path = folder / CLASSES[n % len(CLASSES)] / f"{n:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small.resize((320, 240), Image.Resampling.BICUBIC).save(path, quality=90)


class Unrecorded:
    """A loop's record that keeps nothing."""

    def emit(self, kind: str, /, **data: Any) -> None:
        """Nothing."""

    def event_offset(self) -> int:
        """Nothing is written."""
        return 0

    def cut_events(self, offset: int) -> None:
        """Nothing to cut."""


class InTurns:
    """A loader that, whenever the loop comes for its next batch, first lets the other do a step. Seconds of both."""

    def __init__(self, loader: TrainingLoader, other: Iterator[None]) -> None:
        self.loader, self.other = loader, other
        self.ours: list[float] = []
        self.others: list[float] = []

    @property
    def batches_per_epoch(self) -> int:
        """As many as the loader has."""
        return self.loader.batches_per_epoch

    def epoch(self, epoch: int, *, start_batch: int = 0, mix: bool = True) -> Iterator[LoadedBatch]:
        """The loader's batches; our time runs from asking for one until the loop asks for the next."""
        batches = self.loader.epoch(epoch, start_batch=start_batch, mix=mix)
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            yield batch
            ended = time.perf_counter()
            next(self.other)
            self.ours.append(ended - began)
            self.others.append(time.perf_counter() - ended)


class Items(torch.utils.data.Dataset[tuple[Any, Any]]):
    """The items that our loader makes, for torch's DataLoader."""

    def __init__(self, maker: BatchMaker) -> None:
        self.maker = maker

    def __len__(self) -> int:
        return len(self.maker.samples)

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        maker, image_HWC = self.maker, self.maker.samples.image(row)
        assert maker.augment is not None
        placed_HWC, geometry = augment(image_HWC, maker.prepare, maker.augment, generator(0, ITEM, 0, row))
        assert geometry is not None
        sample = maker.samples.sample(row, image_HWC)
        return maker.prepare.pixels(placed_HWC), maker.task.targets(sample, geometry, maker.classes)["class_C"]


def model() -> TrainableModel:
    """The same start each time."""
    torch.manual_seed(0)
    backbone = BackboneSpec(name="timm/resnet18", weights="none")
    return build(ClassifierSpec(backbone=backbone, input=InputSpec(size_hw=(SIZE, SIZE), bands=3)), CLASSES)


def loader_of(maker: BatchMaker, train: TrainSpec) -> TrainingLoader:
    """Our loader."""
    assert isinstance(train.batch_size, int)
    assert isinstance(train.workers, int)
    return TrainingLoader(
        maker.samples, maker.task, maker.prepare, maker.augment,
        batch_size=train.batch_size, workers=train.workers, seed=0, classes=CLASSES,
    )  # fmt: skip


def ours(train: TrainSpec, loader: Loader) -> float:
    """Train with our loop; the share of its time in which it waited for data."""
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(
            model(), train, loader, validate=None, monitor="", higher_is_better=True,
            checkpoints=Path(folder) / "checkpoints", record=Unrecorded(), seed=0, meta={},
        )  # fmt: skip
        return loop.fit().data_wait


def plain(maker: BatchMaker, train: TrainSpec) -> Iterator[None]:
    """The loop that everyone writes first; gives a turn to the other after each step."""
    loader = torch.utils.data.DataLoader(
        Items(maker), batch_size=train.batch_size, num_workers=train.workers, shuffle=True, drop_last=True
    )
    net = model().train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.05)
    for images, hot in loader:
        batch = Batch({"image": images.to(memory_format=torch.channels_last)}, {"class_C": hot})
        optimiser.zero_grad(set_to_none=True)
        loss = net.losses(batch)["total"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        loss.item()
        yield


def main() -> int:
    """0 when the ratio is kept, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("--steps", 40), ("--batch", 16), ("--workers", 1)):
        parser.add_argument(name, type=int, default=value)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), (asked.steps + UNCOUNTED) * asked.batch)
        maker = _maker(Path(folder))
        train = TrainSpec(
            epochs=1, batch_size=asked.batch, workers=asked.workers, lr=1e-3, device="cpu", devices=1, precision="fp32",
            backbone_lr_ratio=1.0, warmup_epochs=0, tensorboard=False,
        )  # fmt: skip
        with loader_of(maker, train) as loader:
            turns = InTurns(loader, plain(maker, train))
            ours(train, turns)
            waited = ours(train, loader)
    rates = [asked.batch / median(seconds[UNCOUNTED:]) for seconds in (turns.ours, turns.others)]
    print(f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"resnet18 at {SIZE} px, batch {asked.batch}, {asked.workers} worker(s), {asked.steps} steps each, in turns")
    print(f"espalier {rates[0]:.2f} pictures/s, plain PyTorch {rates[1]:.2f} pictures/s")
    print(f"ratio {rates[0] / rates[1]:.3f} (at least {LEAST}); alone, {100 * waited:.1f} % of our time waits for data")
    return 0 if rates[0] / rates[1] >= LEAST else 1


def _maker(folder: Path) -> BatchMaker:
    task = tasks.get("classification")
    prepare = standard_prepare(
        size_hw=(SIZE, SIZE), channels="rgb", bands=3, fit="centre_crop", resample="pillow_bilinear",
        crop_fraction=0.875,
        value_range=(0.0, 255.0), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
    )  # fmt: skip
    return BatchMaker(Samples(read_index(str(folder)), task), task, prepare, AugmentSpec(), CLASSES, 0)


if __name__ == "__main__":
    sys.exit(main())
