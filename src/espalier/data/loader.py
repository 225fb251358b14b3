"""Training batches as tensors, in an order and with randomness that a restart repeats exactly."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from espalier.data.batches import Arrays, BatchMaker, Plan
from espalier.data.order import Sampling
from espalier.data.pool import WorkerPool
from espalier.data.samples import Samples
from espalier.data.tiles import TileSamples
from espalier.errors import DataError
from espalier.spec.training import AugmentSpec
from espalier.tasks.base import Task
from espalier.vision.prepare import Prepare


@dataclass(frozen=True)
class LoadedBatch:
    """Named inputs (B first) and the task's targets; ragged targets are lists of B tensors."""

    inputs: dict[str, Tensor]
    targets: dict[str, Any]
    names: list[str]


class TrainingLoader:
    """The batches of each epoch.

    Batch b of epoch e depends on (seed, e, b) alone: not on the number of workers, nor on where the epoch was entered.
    `batch_size` is one device's; `rank` of `world` devices gets every world-th batch. A training set smaller than one
    batch of all devices is filled up from its beginning. `augment=None` gives pictures as in deployment.
    """

    def __init__(
        self,
        samples: Samples | TileSamples,
        task: Task,
        prepare: Prepare,
        augment: AugmentSpec | None,
        *,
        batch_size: int,
        workers: int,
        seed: int,
        classes: Sequence[str],
        sampling: Sampling = "uniform",
        drop_last: bool = True,
        rank: int = 0,
        world: int = 1,
        pin_memory: bool = False,
    ) -> None:
        if not len(samples):
            raise DataError("there are no pictures to train on")
        self._maker = BatchMaker(samples, task, prepare, augment, tuple(classes), seed)
        self._batch_size, self._drop_last = batch_size, drop_last
        self._rank, self._world = rank, world
        self._workers = workers if sys.executable else 0
        self._sampling, self._pin = sampling, pin_memory
        self._pool: WorkerPool[Plan, Arrays] | None = None

    @property
    def batches_per_epoch(self) -> int:
        """Batches that each device sees in an epoch; at least one."""
        step = self._batch_size * self._world
        count = self._maker.samples.per_epoch
        return max(1, count // step) if self._drop_last else -(-count // step)

    def epoch(self, epoch: int, *, start_batch: int = 0, mix: bool = True) -> Iterator[LoadedBatch]:
        """The batches of an epoch from `start_batch` on. `mix=False` rests mixup, cutmix and mosaic.

        Raises ImageError or DataError for a picture or label that can't be used, WorkError when a worker died.
        """
        plans = self._plans(epoch, start_batch, mix)
        if not self._workers:
            yield from (self._tensors(self._maker(plan)) for plan in plans)
            return
        if self._pool is None:
            self._pool = WorkerPool(self._maker, self._workers, fix="lower train.workers or train.batch_size")
        finished = False
        try:
            for arrays in self._pool.run(plans):
                yield self._tensors(arrays)
            finished = True
        finally:
            if not finished:  # left early: the workers still hold batches of this epoch
                self.close()

    def worst(self) -> LoadedBatch:
        """A batch that takes as much memory as any of an epoch."""
        return self._tensors(self._maker.worst(self._batch_size))

    def close(self) -> None:
        """Ends the worker processes; another epoch starts new ones."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _plans(self, epoch: int, start_batch: int, mix: bool) -> Iterator[Plan]:
        order = self._maker.samples.order(self._sampling, seed=self._maker.seed, epoch=epoch)
        step = self._batch_size * self._world
        if self._drop_last or self._world > 1:
            order = np.resize(order, self.batches_per_epoch * step)
        for batch in range(start_batch, self.batches_per_epoch):
            first = batch * step + self._rank * self._batch_size
            yield Plan(epoch, first, order[first : first + self._batch_size], mix)

    def _tensors(self, arrays: Arrays) -> LoadedBatch:
        inputs = {name: self._tensor(value) for name, value in arrays.inputs.items()}
        targets = {
            name: [self._tensor(v) for v in value] if isinstance(value, list) else self._tensor(value)
            for name, value in arrays.targets.items()
        }
        return LoadedBatch(inputs, targets, arrays.names)

    def _tensor(self, value: np.ndarray[Any, Any]) -> Tensor:
        tensor = torch.from_numpy(value)
        return tensor.pin_memory() if self._pin else tensor
