"""Tiny networks with something to find: one that is fine, and ones whose graph says something else."""

from __future__ import annotations

from collections.abc import Container

import numpy as np
import torch
from torch import Tensor, nn

from espalier.bundle.manifest import Decode, Licence, Provenance
from espalier.exporter.make import Subject
from espalier.layers.model import TrainableModel
from espalier.networks.card import DecodeRule, Network
from espalier.spec.sections import NetworkSpec
from espalier.tasks import base as tasks
from espalier.tasks.base import ImageQuery, Sample
from espalier.tasks.classification import ClassificationTarget
from espalier.vision.prepare import Prepare, standard_prepare

CLASSES = ("red", "green", "blue")


class Fine(TrainableModel):
    """A convolution, a norm and a head; drops half in training."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 3)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"logits": self.head(self.drop(self.stem(image).mean((2, 3))))}


class FarFromZero(Fine):
    """Logits around 100: what turns the answer around is small beside them."""

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"logits": super().forward(image)["logits"] + 100}


class Jumps(Fine):
    """All logits are higher where red outweighs green: on grey pictures it stands on a knife's edge."""

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        redder_B = (image[:, 0] - image[:, 1]).mean((1, 2)) > 0
        return {"logits": super().forward(image)["logits"] + torch.where(redder_B, 3.0, 1.0)[:, None]}


class TiedToItsSize(Fine):
    """Its position table has the traced size: another size must fail, not pass in silence."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(1, 4, 8, 8))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"logits": self.head((self.stem(image) + self.table).mean((2, 3)))}


class FitsItsTable(TiedToItsSize):
    """The same, stretched to any size by a number that tracing takes for a constant."""

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        seen = self.stem(image)
        height, width = int(seen.shape[2]), int(seen.shape[3])
        table = nn.functional.interpolate(self.table, (height, width), mode="bilinear")
        return {"logits": self.head((seen + table * 30).mean((2, 3)))}


class TwoInputs(TrainableModel):
    """Two pictures in, two outputs out."""

    def forward(self, before: Tensor, after: Tensor) -> dict[str, Tensor]:
        change = (after - before).mean((2, 3))
        return {"change": change, "score": change.abs().sum(1).sigmoid()}


class LoopsOverValues(Fine):
    """Asks a value in Python: no exporter can follow."""

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        if image.mean().item() > 0:
            return {"logits": self.head(self.stem(image).mean((2, 3)))}
        return {"logits": self.head(self.stem(-image).mean((2, 3)))}


def prepare() -> Prepare:
    return standard_prepare((16, 16), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def card(*, dynamic_size: bool = True, match_outputs: str | None = None) -> Network:
    return Network(
        name="toy",
        task="classification",
        spec=NetworkSpec,
        build="nowhere:build",
        prepare=lambda spec: prepare(),
        decode=lambda spec: DecodeRule("softmax"),
        presets={},
        facts=lambda name: None,  # type: ignore[arg-type,return-value]
        summary="a toy",
        source="none",
        licence="Apache-2.0",
        dynamic_size=dynamic_size,
        match_outputs=match_outputs,
    )


def subject(model: TrainableModel, **of_card) -> Subject:
    return Subject(
        name="toy",
        card=card(**of_card),
        model=model,
        task=tasks.get("classification"),
        classes=CLASSES,
        prepare=prepare(),
        decode=Decode(name="softmax", version=1, params={"temperature": 1.0}),
        licences=(Licence(name="w", licence="MIT", commercial=True),),
        provenance=Provenance(network="toy"),
    )


def seeded(kind: type[TrainableModel], seed: int = 0) -> TrainableModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind()


def samples(n: int = 10, *, grey: Container[int] = ()) -> list[Sample]:
    rng = np.random.default_rng(3)
    pictures = [rng.integers(0, 256, (20, 17 + i % 4, 3), np.uint8) for i in range(n)]
    for i, image_HWC in enumerate(pictures):
        image_HWC[..., 1] = image_HWC[..., 0] if i in grey else image_HWC[..., 1]
    return [
        Sample(ImageQuery(image, str(i)), ClassificationTarget((i % 3,)), str(i)) for i, image in enumerate(pictures)
    ]
