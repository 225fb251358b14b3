"""Tiny stand-ins for a network, a loader and a run, so that the loop is tested by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from espalier.layers.model import Batch, TrainableModel
from espalier.spec.training import AugmentSpec, TrainSpec
from espalier.trainer.loop import Loop


class Tiny(TrainableModel):
    """A convolution, BatchNorm, dropout and a linear head for 2 classes of 8 × 8 grey pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(4, 2)

    def forward(self, image: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        return {"logits": self.head(self.drop(self.backbone(image).mean((2, 3))))}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        logits = self(**batch.inputs)["logits"]
        return {"total": nn.functional.cross_entropy(logits, batch.targets["class_C"])}


@dataclass
class DrawnLoader:
    """Noise whose mean tells the class; batch b of epoch e depends on both alone."""

    batches_per_epoch: int = 5
    batch_size: int = 8
    rank: int = 0
    spoilt: int | None = None  # the batch of epoch 1 whose pictures are NaN
    asked: list[tuple[int, int, bool]] = field(default_factory=list)

    def epoch(self, epoch: int, *, start_batch: int = 0, mix: bool = True) -> Iterator[Any]:
        self.asked.append((epoch, start_batch, mix))
        for number in range(start_batch, self.batches_per_epoch):
            draw = torch.Generator().manual_seed(1000 * epoch + number + 7919 * self.rank)
            label = torch.randint(0, 2, (self.batch_size,), generator=draw)
            image = torch.randn(self.batch_size, 1, 8, 8, generator=draw) + 2.0 * label[:, None, None, None]
            if (epoch, number) == (1, self.spoilt):
                image = image * float("nan")
            targets = {"class_C": nn.functional.one_hot(label, 2).float()}
            yield SimpleNamespace(inputs={"image": image}, targets=targets, names=[f"{epoch}-{number}"] * len(label))

    def worst(self) -> Any:
        return next(DrawnLoader(self.batches_per_epoch, self.batch_size).epoch(0))


class Memory:
    """A record that keeps events in a list; the offset is their number."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def emit(self, kind: str, /, **data: Any) -> None:
        self.events.append({"kind": kind, **data})

    def event_offset(self) -> int:
        return len(self.events)

    def cut_events(self, offset: int) -> None:
        del self.events[offset:]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["kind"] == kind]


def train_spec(**values: Any) -> TrainSpec:
    """A resolved section for the tiny model, on the CPU."""
    given = {"epochs": 3, "batch_size": 8, "lr": 0.05, "device": "cpu", "devices": 1, "precision": "fp32", "workers": 0}
    augment = AugmentSpec(off_last_epochs=values.pop("off_last_epochs", 0))
    given["warmup_epochs"] = 0.5
    return TrainSpec(**{**given, "tensorboard": False, "augment": augment, **values})


def score(model: TrainableModel) -> dict[str, float]:
    """Accuracy and loss on a drawn batch."""
    batch = next(DrawnLoader(batch_size=64).epoch(99))
    training = model.training
    model.eval()
    with torch.no_grad():
        logits = model(**batch.inputs)["logits"]
    model.train(training)
    right = logits.argmax(1) == batch.targets["class_C"].argmax(1)
    return {"accuracy": right.float().mean().item(), "mean_logit": logits.mean().item()}


def make_loop(folder: Any, train: TrainSpec | None = None, **changes: Any) -> Loop:
    """A loop over the stand-ins; the model's start is always the same."""
    torch.manual_seed(0)
    given: dict[str, Any] = {
        "validate": score,
        "monitor": "accuracy",
        "higher_is_better": True,
        "checkpoints": folder / "checkpoints",
        "record": Memory(),
        "seed": 3,
        "meta": {"network": "tiny", "classes": ["a", "b"], "spec": {}},
    }
    model, loader = changes.pop("model", Tiny)(), changes.pop("loader", None) or DrawnLoader()
    return Loop(model, train or train_spec(), loader, **{**given, **changes})


class Killed(BaseException):
    """As abrupt as a kill: nothing catches it."""


def killed_run(folder: Any, train: TrainSpec, *, at: int) -> Memory:
    """Train until the step, then die without a word."""
    loop = make_loop(folder, train)
    walk = loop.engine.step

    def die(batches: Any, number: int, rate: float) -> Any:
        if number == at:
            raise Killed
        return walk(batches, number, rate)

    loop.engine.step = die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        loop.fit()
    assert isinstance(loop.record, Memory)
    return loop.record
