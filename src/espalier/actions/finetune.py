"""Fine-tuning inside a time: how long a picture takes, how many epochs that allows, and the training itself."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from espalier.actions.recipe import Recipe
from espalier.data.index import Index
from espalier.data.loader import LoadedBatch, TrainingLoader
from espalier.layers.model import Batch, TrainableModel
from espalier.layers.module_backend import ModuleBackend
from espalier.trainer.checkpoint import load_checkpoint
from espalier.trainer.devices import rank_and_world
from espalier.trainer.loop import Loop, TrainResult
from espalier.trainer.optimisers import freeze
from espalier.trainer.partners import Record
from espalier.trainer.recompute import recompute_activations

LEAST_EPOCHS, ENOUGH_EPOCHS = 4, 8  # fewer are not worth trying; with so many nothing need be given up for more
HEADROOM = 1.2  # a plan assumes that an epoch takes so many times what was measured
EARLY_SHARE = 0.2  # of the encoder's parameters, in its first layers
MEASURED_BATCHES = 2
PLENTY = 2.0  # times enough epochs without the first layers: then training them, too, may fit


class Unrecorded:
    """A loop's record that keeps nothing: for trials, whose steps are no part of the run's story."""

    def emit(self, kind: str, /, **data: Any) -> None:
        """Nothing."""

    def event_offset(self) -> int:
        """Nothing was written."""
        return 0

    def cut_events(self, offset: int) -> None:
        """Nothing to cut."""


@dataclass(frozen=True)
class Plan:
    """How to fine-tune in the time: `epochs` over each of `folds` training sets, but for the `frozen` prefixes."""

    epochs: int
    folds: int
    frozen: tuple[str, ...]

    @property
    def words(self) -> str:
        """Such as '8 epochs in each of 5 folds, the first 20 % of the encoder frozen'."""
        folds = f" in each of {self.folds} folds" if self.folds > 1 else ""
        return f"{self.epochs} epochs{folds}" + (
            f", the encoder's first {EARLY_SHARE * 100:.0f} % frozen" if self.frozen else ""
        )


def plan(
    recipe: Recipe, model: TrainableModel, index: Index, *, seconds: float, folds: tuple[int, int] = (1, 1)
) -> Plan | None:
    """The fine-tuning that fits into the time, by a measurement; None where not even a short one does.

    Without the encoder's first layers, which cost most and change least; with them where there is plenty of time. On
    as many folds (from the second number of `folds` down to the first) as leave `ENOUGH_EPOCHS`. `index` is one
    training set. `model` keeps its weights.
    """
    early = recipe.spec.train.freeze or early_prefixes(model)
    quick = _fitting(recipe, model, index, early, seconds=seconds, folds=folds)
    if quick.epochs < PLENTY * ENOUGH_EPOCHS or early == recipe.spec.train.freeze:
        found = quick
    else:
        whole = _fitting(recipe, model, index, (), seconds=seconds, folds=folds)
        found = whole if whole.epochs >= ENOUGH_EPOCHS and whole.folds == quick.folds else quick
    wanted = recipe.spec.train.epochs
    assert isinstance(wanted, int)
    if found.epochs < min(LEAST_EPOCHS, wanted):
        return None
    return replace(found, epochs=min(found.epochs, wanted))


def _fitting(
    recipe: Recipe,
    model: TrainableModel,
    index: Index,
    frozen: tuple[str, ...],
    *,
    seconds: float,
    folds: tuple[int, int],
) -> Plan:
    """The epochs that fit with these layers frozen, on as many folds as leave enough of them, else on the fewest."""
    pace = measure(recipe.with_train(freeze=frozen), model, index)
    passes = seconds / max(HEADROOM * pace * len(index), 1e-9)  # over one training set
    for count in range(folds[1], folds[0], -1):
        if passes / count >= ENOUGH_EPOCHS:
            return Plan(int(passes / count), count, frozen)
    return Plan(int(passes / folds[0]), folds[0], frozen)


def early_prefixes(model: TrainableModel, share: float = EARLY_SHARE) -> tuple[str, ...]:
    """Prefixes of the encoder's first layers, which hold up to `share` of its parameters; none without an encoder."""
    encoder = getattr(model, "backbone", None)
    if encoder is None:
        return ()
    left = int(share * sum(parameter.numel() for parameter in encoder.parameters()))
    found: list[str] = []
    place, name = encoder, "backbone"
    while True:
        for child_name, child in place.named_children():
            size = sum(parameter.numel() for parameter in child.parameters())
            if size > left:
                place, name = child, f"{name}.{child_name}"
                break
            left -= size
            if size:
                found.append(f"{name}.{child_name}")
        else:
            return tuple(found)


def loader_of(recipe: Recipe, index: Index) -> TrainingLoader:
    """The training batches of the recipe, for this process among those that torchrun started."""
    train = recipe.spec.train
    rank, world = rank_and_world()
    assert isinstance(train.batch_size, int)
    assert isinstance(train.workers, int)
    samples = recipe.learnt(index)
    return TrainingLoader(
        samples,
        recipe.task,
        recipe.prepare,
        train.augment,
        batch_size=min(train.batch_size, samples.per_epoch),
        workers=train.workers,
        seed=recipe.spec.seed,
        classes=recipe.classes,
        sampling=train.sampling,
        rank=rank,
        world=world,
        pin_memory=train.device == "cuda",
    )


def measure(recipe: Recipe, model: TrainableModel, index: Index) -> float:
    """Seconds that a training picture takes, reading and augmenting included; `model` keeps its weights.

    A few batches are run without an optimiser; the first one warms up.
    """
    train = recipe.spec.train
    device = torch.device(str(train.device))
    before = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    model.to(memory_format=torch.channels_last if train.channels_last else torch.contiguous_format).to(device)
    kept = freeze(model, train.freeze)
    if train.activation_checkpointing:
        recompute_activations(model, True)
    model.train()
    for module in kept:
        module.eval()
    with loader_of(recipe.with_train(workers=0), index) as loader:
        seconds = [
            _batch_seconds(model, batches, device) for batches in [loader.epoch(0)] for _ in range(_measured(loader))
        ]
    if train.activation_checkpointing:
        recompute_activations(model, False)
    model.zero_grad(set_to_none=True)
    model.requires_grad_(True)
    model.load_state_dict(before)
    return min(seconds[1:] or seconds)


def _measured(loader: TrainingLoader) -> int:
    return min(MEASURED_BATCHES, loader.batches_per_epoch)


def _batch_seconds(model: TrainableModel, batches: Iterator[LoadedBatch], device: torch.device) -> float:
    """Seconds a picture of the next batch, forwards and backwards."""
    begin = time.perf_counter()
    loaded = next(batches)
    batch = Batch(loaded.inputs, loaded.targets, loaded.names).to(device)
    model.losses(batch)["total"].backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - begin) / batch.size


def tune(
    recipe: Recipe,
    model: TrainableModel,
    index: Index,
    *,
    validate: Callable[[TrainableModel], Mapping[str, float]] | None,
    monitor: str,
    higher_is_better: bool,
    checkpoints: Path,
    record: Record,
    meta: Mapping[str, Any],
) -> TrainResult:
    """Trains `model` on all of `index`; afterwards it holds the best weights (the last where nothing validates)."""
    with loader_of(recipe, index) as loader:
        loop = Loop(
            model,
            recipe.spec.train,
            loader,
            validate=validate,
            monitor=monitor,
            higher_is_better=higher_is_better,
            checkpoints=checkpoints,
            record=record,
            seed=recipe.spec.seed,
            meta=meta,
        )
        result = loop.fit()
    load_checkpoint(result.best_path).load_into(model)
    return result


def trial(recipe: Recipe, model: TrainableModel, train: Index, held_out: Index, *, seconds: float) -> list[Any] | None:
    """Predictions of `held_out` by `model` after training on `train`, None where `seconds` did not suffice.

    Nothing is kept but the model's weights.
    """
    with tempfile.TemporaryDirectory(prefix="espalier-trial-") as folder:
        result = tune(
            recipe.with_train(tensorboard=False, minutes=seconds / 60),
            model,
            train,
            validate=None,
            monitor="",
            higher_is_better=True,
            checkpoints=Path(folder) / "checkpoints",
            record=Unrecorded(),
            meta={},
        )
    return None if result.stopped == "minutes" else predictions(recipe, model, held_out)


def predictions(recipe: Recipe, model: TrainableModel, index: Index) -> list[Any]:
    """What the model says of the pictures of `index`, by the path that is deployed."""
    samples = recipe.samples(index)
    predictor = recipe.predictor(ModuleBackend(model, str(recipe.spec.train.device)))
    return predictor(samples[row].query for row in range(len(samples)))
