"""From rows of an index to the arrays of one training batch. Torch-free: worker processes run this too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.data.augment import Changed, Suits, any_part, augment, mix, mosaic
from espalier.data.augment.tiles import COUNT
from espalier.data.order import ITEM, MIX, generator
from espalier.data.samples import Look, Samples
from espalier.data.tiles import TileSamples
from espalier.errors import Problem, SpecError
from espalier.spec.training import AugmentSpec
from espalier.tasks.base import Balanced, Located, Sample, Task
from espalier.vision.batch import largest, on_larger
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
class _Item:
    """A picture in the network's pixels, of one sample or several, with the map from each of these to it."""

    changed: Changed
    samples: tuple[Sample, ...]

    @staticmethod
    def of(changed: Changed, looks: Sequence[Look]) -> _Item:
        """Its maps are those from whole pictures, in which the truth is, also where tiles of them are seen."""
        maps = tuple(look.geometry(placed) for look, placed in zip(looks, changed.geometries, strict=True))
        return _Item(replace(changed, geometries=maps), tuple(look.sample for look in looks))

    @property
    def size_hw(self) -> tuple[int, int]:
        return int(self.changed.image_HWC.shape[0]), int(self.changed.image_HWC.shape[1])


@dataclass(frozen=True)
class BatchMaker:
    """Plan → Arrays. Every item's randomness comes from (seed, epoch, position), whoever makes it."""

    samples: Samples | TileSamples
    task: Task
    prepare: Prepare
    augment: AugmentSpec | None  # None: placed as in deployment, nothing at random
    classes: tuple[str, ...]
    seed: int

    def __post_init__(self) -> None:
        """Raises SpecError for a mosaic of pictures whose labels have no places, and for crops balanced by labels that
        are not of pixels."""
        if self.augment is not None and self.augment.mosaic and not isinstance(self.task, Located):
            raise SpecError(_no_mosaic(self.task.name))
        if self.augment is not None and self.augment.class_share < 1 and not isinstance(self.task, Balanced):
            raise SpecError(_no_balance(self.task.name))

    def __call__(self, plan: Plan) -> Arrays:
        """Raises ImageError or DataError for a picture or label that can't be used."""
        items = [self._item(int(row), plan, plan.position + i) for i, row in enumerate(plan.rows)]
        size_hw = self._size(items)
        maps = [tuple(on_larger(each, size_hw) for each in item.changed.geometries) for item in items]
        inputs = self._inputs(items, [geometries[0] for geometries in maps], size_hw)
        targets = self._collate([self._targets(item, own) for item, own in zip(items, maps, strict=True)])
        if plan.mix and self.augment is not None:
            rng = generator(self.seed, MIX, plan.epoch, plan.position)
            inputs, targets = mix(inputs, targets, self.augment, rng, self.task.mixable)
        return Arrays(inputs, targets, [item.samples[0].name for item in items])

    def worst(self, count: int) -> Arrays:
        """A batch that takes as much memory as any: `count` times the picture with most labels (with mosaic, four of
        it), padded to the height and the width of the tallest and the widest."""
        plain = replace(self, augment=None)
        rows = [self.samples.fullest] if self.prepare.one_size else self.samples.extremes()
        items = [plain._item(row, Plan(0, 0, np.array(rows), mix=False), 0) for row in rows]
        size_hw = self._size(items)
        maps = [on_larger(each, size_hw) for each in items[0].changed.geometries]
        targets = plain._targets(items[0], maps)
        if self.augment is not None and self.augment.mosaic and isinstance(self.task, Located):
            targets = self.task.merged([targets] * COUNT)
        inputs = self._inputs(items[:1] * count, maps[:1] * count, size_hw)
        return Arrays(inputs, self._collate([targets] * count), [items[0].samples[0].name] * count)

    # ---- pictures ------------------------------------------------------------------------------------------------

    def _size(self, items: Sequence[_Item]) -> tuple[int, int]:
        """The batch's: its largest picture's, where the network is told of the padding of others."""
        sizes = [item.size_hw for item in items]
        other = next((size for size in sizes if size != sizes[0]), None)
        if other is not None and self.prepare.inputs[0].name not in self.prepare.paddable:
            raise SpecError(_other_shapes(sizes[0], other))
        return largest(sizes)

    def _inputs(
        self, items: Sequence[_Item], geometries: Sequence[Geometry], size_hw: tuple[int, int]
    ) -> dict[str, NDArray[Any]]:
        frame = self.prepare.inputs[0].name
        valid = [self.prepare.valid_arrays({frame: geometry}) for geometry in geometries]
        return {frame: self._pixels(items, size_hw)} | {name: np.stack([v[name] for v in valid]) for name in valid[0]}

    def _pixels(self, items: Sequence[_Item], size_hw: tuple[int, int]) -> NDArray[np.float32]:
        """(B, channels, H, W), 0 where a picture ends before the batch does."""
        batch = np.zeros((len(items), self.prepare.inputs[0].bands, *size_hw), np.float32)
        for number, item in enumerate(items):
            height, width = item.size_hw
            self.prepare.pixels(item.changed.image_HWC, out=batch[number, :, :height, :width])
        return batch

    def _item(self, row: int, plan: Plan, position: int) -> _Item:
        look = self.samples.look(row)
        if self.augment is None:
            image_in, geometry = self.prepare.place(look.image_HWC)
            return _Item.of(Changed(image_in, (geometry,)), [look])
        rng = generator(self.seed, ITEM, plan.epoch, position)
        if plan.mix and self.augment.mosaic and rng.random() < self.augment.mosaic:
            others = self.samples.others(row, COUNT - 1, rng)
            return self._mosaic([look, *(self.samples.look(other) for other in others)], rng)
        changed = augment(look.image_HWC, self.prepare, self.augment, rng, suits=self._suits(look))
        return _Item.of(changed, [look])

    def _suits(self, look: Look) -> Suits:
        """Which parts of the picture are learnt from: those in which no class takes too much."""
        assert self.augment is not None
        task, most = self.task, self.augment.class_share
        if most == 1 or not isinstance(task, Balanced):
            return any_part
        return lambda placed: task.largest_share(look.sample, look.geometry(placed)) <= most  # never of NaN

    def _mosaic(self, looks: Sequence[Look], rng: np.random.Generator) -> _Item:
        """The first picture and others, in an order that is drawn: each may lie in any quarter."""
        assert self.augment is not None
        order = rng.permutation(len(looks))
        changed = mosaic([looks[n].image_HWC for n in order], self.prepare, self.augment, rng)
        maps = tuple(changed.geometries[place] for place in np.argsort(order))
        return _Item.of(replace(changed, geometries=maps), looks)

    # ---- targets -------------------------------------------------------------------------------------------------

    def _targets(self, item: _Item, geometries: Sequence[Geometry]) -> dict[str, NDArray[Any]]:
        found = [
            self.task.targets(self._cut(sample, geometry), geometry, self.classes)
            for sample, geometry in zip(item.samples, geometries, strict=True)
        ]
        if item.changed.is_turned and not set(found[0]) <= set(self.task.mixable):
            raise SpecError(_cannot_rotate(self.task.name))
        if len(found) == 1:
            return found[0]
        assert isinstance(self.task, Located)
        return self.task.merged(found)

    def _cut(self, sample: Sample, geometry: Geometry) -> Sample:
        if self.augment is None or not isinstance(self.task, Located):
            return sample
        return self.task.cut(sample, geometry, min_visible=self.augment.min_visible)

    def _collate(self, targets: Sequence[dict[str, NDArray[Any]]]) -> dict[str, Any]:
        ragged = self.task.ragged
        return {
            name: [target[name] for target in targets] if name in ragged else np.stack([t[name] for t in targets])
            for name in targets[0]
        }


def _other_shapes(one: tuple[int, ...], other: tuple[int, ...]) -> Problem:
    what = f"a batch can't hold pictures of {one[1]} × {one[0]} and {other[1]} × {other[0]} px"
    expected = "one size, as the network is not told of padding"
    return Problem("network.input.fit", what, expected, fix="train with letterbox, centre_crop or stretch")


def _cannot_rotate(task: str) -> Problem:
    return Problem(
        "train.augment.rotate_deg",
        f"the labels of {task} have places in the picture and can't be rotated",
        fix="set it to 0",
    )


def _no_balance(task: str) -> Problem:
    return Problem(
        "train.augment.class_share",
        f"the labels of {task} are not of pixels, of which a class could take too many",
        fix="set it to 1; train.sampling=balanced shows rare classes more often",
    )


def _no_mosaic(task: str) -> Problem:
    return Problem(
        "train.augment.mosaic",
        f"the labels of {task} belong to whole pictures, and four of them can't make one",
        fix="set it to 0; mixup and cutmix blend such pictures with their labels",
    )
