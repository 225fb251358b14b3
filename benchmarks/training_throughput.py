"""Training resnet18 at 160 px on the CPU: our loop and loader against a plain PyTorch loop over a torch DataLoader.

    python benchmarks/training_throughput.py [--steps 12] [--repeats 3] [--batch 16] [--workers 1]

Both read the same drawn 320×240 JPEGs, make the same random changes with the same code, and have the same batch size,
number of workers, memory layout, optimiser, clipping and number of threads; they take turns. A step's time is that from
the end of the step before, data included; the first three of each turn don't count. Fails below 0.97 of plain PyTorch's
pictures a second (medians over all steps of all turns).
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image

from espalier.data.augment import augment
from espalier.data.batches import BatchMaker
from espalier.data.formats import read_index
from espalier.data.loader import TrainingLoader
from espalier.data.order import ITEM, generator
from espalier.data.samples import Samples
from espalier.layers.model import Batch, TrainableModel
from espalier.networks.classifier.model import build
from espalier.networks.classifier.spec import ClassifierSpec
from espalier.spec.sections import AugmentSpec, BackboneSpec, InputSpec, TrainSpec
from espalier.tasks import base as tasks
from espalier.trainer.loop import Loop
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


class Clock:
    """A loop's record that notes when each step ended."""

    def __init__(self) -> None:
        self.ended: list[float] = []

    def emit(self, kind: str, /, **data: Any) -> None:
        """Steps are counted, the rest is let go."""
        if kind == "step":
            self.ended.append(time.perf_counter())

    def event_offset(self) -> int:
        """Nothing is written."""
        return 0

    def cut_events(self, offset: int) -> None:
        """Nothing to cut."""


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


def ours(maker: BatchMaker, train: TrainSpec) -> tuple[list[float], float]:
    """Seconds of each step, and the share of the time waited for data."""
    assert isinstance(train.batch_size, int)
    assert isinstance(train.workers, int)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, TrainingLoader(
        maker.samples, maker.task, maker.prepare, maker.augment,
        batch_size=train.batch_size, workers=train.workers, seed=0, classes=CLASSES,
    ) as loader:  # fmt: skip
        loop = Loop(
            model(), train, loader, validate=None, monitor="", higher_is_better=True,
            checkpoints=Path(folder) / "checkpoints", record=clock, seed=0, meta={},
        )  # fmt: skip
        result = loop.fit()
    return np.diff(clock.ended)[UNCOUNTED:].tolist(), result.data_wait


def plain(maker: BatchMaker, train: TrainSpec) -> list[float]:
    """Seconds of each step of the loop that everyone writes first."""
    loader = torch.utils.data.DataLoader(
        Items(maker), batch_size=train.batch_size, num_workers=train.workers, shuffle=True, drop_last=True
    )
    net = model().train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.05)
    ended = []
    for images, hot in loader:
        batch = Batch({"image": images.to(memory_format=torch.channels_last)}, {"class_C": hot})
        optimiser.zero_grad(set_to_none=True)
        loss = net.losses(batch)["total"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        loss.item()
        ended.append(time.perf_counter())
    return np.diff(ended)[UNCOUNTED:].tolist()


def main() -> int:
    """0 when the ratio is kept, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("--steps", 12), ("--repeats", 3), ("--batch", 16), ("--workers", 1)):
        parser.add_argument(name, type=int, default=value)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), (asked.steps + UNCOUNTED + 1) * asked.batch)
        maker = _maker(Path(folder))
        train = TrainSpec(
            epochs=1, batch_size=asked.batch, workers=asked.workers, lr=1e-3, device="cpu", devices=1, precision="fp32",
            backbone_lr_ratio=1.0, warmup_epochs=0, tensorboard=False,
        )  # fmt: skip
        steps: dict[str, list[float]] = {"espalier": [], "plain": []}
        waits = []
        for _ in range(asked.repeats):
            steps["plain"] += plain(maker, train)
            found, wait = ours(maker, train)
            steps["espalier"] += found
            waits.append(wait)
    rate = {name: asked.batch / median(seconds) for name, seconds in steps.items()}
    ratio = rate["espalier"] / rate["plain"]
    print(f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"resnet18 at {SIZE} px, batch {asked.batch}, {asked.workers} worker(s), {len(steps['plain'])} steps each")
    print(f"espalier {rate['espalier']:.2f} pictures/s, plain PyTorch {rate['plain']:.2f} pictures/s")
    print(f"ratio {ratio:.3f} (at least {LEAST}); waiting for data: {100 * median(waits):.1f} % of our time")
    return 0 if ratio >= LEAST else 1


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
