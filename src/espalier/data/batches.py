"""From rows of an index to the arrays of one training batch. Torch-free: worker processes run this too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.data.augment import augment, mix
from espalier.data.order import ITEM, MIX, generator
from espalier.data.samples import Samples
from espalier.errors import Problem, SpecError
from espalier.spec.sections import AugmentSpec
from espalier.tasks.base import Task
from espalier.vision.geometry import Geometry
from espalier.vision.prepare import Prepare


@dataclass(frozen=True)
class Plan:
    """What a batch is made of: the rows, and the position of its first item in the epoch."""

    epoch: int
    position: int
    rows: NDArray[np.int64]
    mix: bool


@dataclass(frozen=True)
class Arrays:
    """A batch in numpy: inputs (B, …) by name, targets (B, …) or, if ragged, a list of B arrays."""

    inputs: dict[str, NDArray[Any]]
    targets: dict[str, Any]
    names: list[str]


@dataclass(frozen=True)
class BatchMaker:
    """Plan → Arrays. Every item's randomness comes from (seed, epoch, position), whoever makes it."""

    samples: Samples
    task: Task
    prepare: Prepare
    augment: AugmentSpec | None  # None: placed as in deployment, nothing at random
    classes: tuple[str, ...]
    seed: int

    def __call__(self, plan: Plan) -> Arrays:
        """Raises ImageError or DataError for a picture or label that can't be used."""
        items = [self._item(int(row), plan.epoch, plan.position + i) for i, row in enumerate(plan.rows)]
        inputs = self._inputs([placed for placed, *_ in items], [geometry for _, geometry, *_ in items])
        targets = self._collate([target for _, _, target, _ in items])
        if plan.mix and self.augment is not None:
            rng = generator(self.seed, MIX, plan.epoch, plan.position)
            inputs, targets = mix(inputs, targets, self.augment, rng, self.task.mixable)
        return Arrays(inputs, targets, [name for *_, name in items])

    def _inputs(self, placed: Sequence[NDArray[Any]], geometries: Sequence[Geometry]) -> dict[str, NDArray[Any]]:
        frame = self.prepare.inputs[0].name
        valid = [self.prepare.valid_arrays({frame: geometry}) for geometry in geometries]
        return {frame: self._pixels(placed)} | {name: np.stack([v[name] for v in valid]) for name in valid[0]}

    def _pixels(self, placed: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """(B, channels, H, W)"""
        height, width, channels = placed[0].shape
        batch = np.empty((len(placed), channels, height, width), np.float32)
        for number, image_HWC in enumerate(placed):
            if image_HWC.shape != placed[0].shape:
                raise SpecError(_other_shapes(placed[0].shape, image_HWC.shape))
            self.prepare.pixels(image_HWC, out=batch[number])
        return batch

    def _item(self, row: int, epoch: int, position: int) -> tuple[NDArray[Any], Geometry, dict[str, NDArray[Any]], str]:
        image_HWC = self.samples.image(row)
        image_in, geometry = self._place(image_HWC, epoch, position)
        sample = self.samples.sample(row, image_HWC)
        flat = geometry or Geometry.stretch((image_HWC.shape[0], image_HWC.shape[1]), self.prepare.size_hw)
        targets = self.task.targets(sample, flat, self.classes)
        if geometry is None and not set(targets) <= set(self.task.mixable):
            raise SpecError(_cannot_rotate(self.task.name))
        return image_in, flat, targets, sample.name

    def _place(self, image_HWC: NDArray[Any], epoch: int, position: int) -> tuple[NDArray[Any], Geometry | None]:
        if self.augment is None:
            return self.prepare.place(image_HWC)
        return augment(image_HWC, self.prepare, self.augment, generator(self.seed, ITEM, epoch, position))

    def _collate(self, targets: Sequence[dict[str, NDArray[Any]]]) -> dict[str, Any]:
        ragged = self.task.ragged
        return {
            name: [target[name] for target in targets] if name in ragged else np.stack([t[name] for t in targets])
            for name in targets[0]
        }


def _other_shapes(one: tuple[int, ...], other: tuple[int, ...]) -> Problem:
    what = f"a batch can't hold pictures of {one[1]} × {one[0]} and {other[1]} × {other[0]} px"
    return Problem("network.input.fit", what, fix="train with letterbox, centre_crop or stretch")


def _cannot_rotate(task: str) -> Problem:
    return Problem(
        "train.augment.rotate_deg",
        f"the labels of {task} have places in the picture and can't be rotated",
        fix="set it to 0",
    )
