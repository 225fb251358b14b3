"""The training loop: epochs of steps, validation, checkpoints and every reason to stop.

An interrupted run that resumes goes on bit for bit: the batches and all random numbers are functions of (seed, epoch,
step), the rate a function of the step, and the rest is in the checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import torch

from espalier.errors import DataError, DivergedError, InterruptedByUser, ModelError, Problem, SpecError, WorkError
from espalier.layers.model import Batch, TrainableModel
from espalier.spec.training import TrainSpec
from espalier.trainer.checkpoint import INFO_FILE, exists, load_checkpoint, save_checkpoint
from espalier.trainer.devices import determinism, peak_memory_mb
from espalier.trainer.engine import Engine
from espalier.trainer.partners import Loader, Record
from espalier.trainer.progress import Means, Stopwatch
from espalier.trainer.schedules import rate_factor
from espalier.trainer.stopping import Best, Divergence, StopNow, StopRequest
from espalier.trainer.tensorboard import Board
from espalier.trainer.ways import ways_of

_OTHER_TRAIN = (
    "the train section is not the one this run began with: it goes on with the new one, and will not end where the "
    "old one would have"
)
_RUNNING, _OUT_OF_TIME, _INTERRUPTED = 0, 1, 2  # what ranks agree on: the largest wins


@dataclass(frozen=True)
class TrainResult:
    """How training ended. `stopped`: epochs (all done), patience, or minutes (the budget was spent)."""

    best_path: Path
    best_value: float | None
    best_epoch: int
    epochs: int  # finished ones
    steps: int
    stopped: str
    seconds: float
    images_per_s: float
    data_wait: float  # share of the stepping time


@dataclass
class Position:
    """Where training is: the next batch of the next epoch, and the optimiser steps done. All count from 0."""

    epoch: int
    batch: int
    step: int


class Loop:
    """Trains `model` by a resolved `train` section.

    `validate` scores a model; None trains without a validation set and keeps the last weights as the best. `meta` is
    what makes a checkpoint folder a model by itself and goes into checkpoint.json as it is.
    """

    def __init__(
        self,
        model: TrainableModel,
        train: TrainSpec,
        loader: Loader,
        *,
        validate: Callable[[TrainableModel], Mapping[str, float]] | None,
        monitor: str,
        higher_is_better: bool,
        checkpoints: Path,
        record: Record,
        seed: int,
        meta: Mapping[str, Any],
    ) -> None:
        self.train, self.loader, self.validate, self.monitor, self.meta = train, loader, validate, monitor, meta
        self.checkpoints, self.record = checkpoints, record
        self.epochs = _resolved(train)
        self.batches = loader.batches_per_epoch
        if not self.batches:
            raise DataError(
                Problem("data.train", "there are fewer pictures than one batch", fix="lower train.batch_size")
            )
        self.steps_per_epoch = math.ceil(self.batches / train.accumulate)
        self.total_steps = self.epochs * self.steps_per_epoch
        self.engine = Engine(model, train, seed)
        self.at, self.best = Position(0, 0, 0), Best(higher_is_better)
        self.divergence, self.watch = Divergence(train.diverged_factor), Stopwatch()
        self.window, self.epoch_means = Means(), Means()
        self.stop = StopRequest()
        self.stopped: str | None = None
        self._session_steps = 0

    def fit(self, *, resume: bool = False) -> TrainResult:
        """Train to the end. With `resume`, go on from the checkpoint `last` if there is one.

        Raises DivergedError, MemoryExhaustedError, StorageError; InterruptedByUser after the checkpoint was written.
        """
        with determinism(self.train.deterministic), self.stop.listening():
            resumed = resume and exists(self.checkpoints / "last")
            if not resumed and self.engine.device.type != "cpu":
                self._probe()
            self.engine.set_up()
            if resumed:
                self._restore()
            self._tell_ways()
            board = self.checkpoints.parent / "tensorboard"
            self.board = Board(board, wanted=self.engine.first_rank and self.train.tensorboard, from_step=self.at.step)
            try:
                while self.stopped is None:
                    self._train_epoch()
                    self._close_epoch()
            finally:
                self.board.close()
                self.engine.close()
        return self._result()

    # ---- an epoch ------------------------------------------------------------------------------------------------

    def _train_epoch(self) -> None:
        """Steps until the epoch or the time is over. Raises InterruptedByUser, the checkpoint written."""
        self.engine.training_mode()
        groups = self._groups()
        while self.at.batch < self.batches and self.stopped is None:
            started = time.perf_counter()
            batches = self._fetch(groups)
            self.watch.waited_s += time.perf_counter() - started
            if batches:
                self._step(batches)
                loss = self._due_loss()
                self.watch.stepping_s += time.perf_counter() - started
                self._tell_step(loss)
            self._stop_if_asked()

    def _groups(self) -> Iterator[list[Batch]]:
        """The rest of the epoch's batches, `accumulate` at a time."""
        if self.at.batch >= self.batches:
            return
        mix = self._due_step() < self.total_steps - self.train.augment.off_last_epochs * self.steps_per_epoch
        group: list[Batch] = []
        for loaded in self.loader.epoch(self.at.epoch, start_batch=self.at.batch, mix=mix):
            group.append(Batch(loaded.inputs, loaded.targets, loaded.names))
            if len(group) == self.train.accumulate:
                yield group
                group = []
        if group:
            yield group

    def _fetch(self, groups: Iterator[list[Batch]]) -> list[Batch]:
        """The next group; empty when a stop signal ended the workers too. Raises WorkError."""
        try:
            batches = next(groups, None)
        except (WorkError, RuntimeError):
            if self.stop.requested:
                return []
            raise
        if batches is None:
            raise WorkError(
                Problem(
                    "data",
                    f"epoch {self.at.epoch + 1} ended after {self.at.batch} of {self.batches} batches",
                    fix="this is a fault of the data loader: please report it",
                )
            )
        return batches

    def _step(self, batches: list[Batch]) -> None:
        parts = self.engine.parts
        losses = self.engine.step(batches, self.at.step, self._rate())
        if self.engine.parts != parts:
            self._tell_parts(parts)
        self.window.add(losses)
        self.epoch_means.add(losses)
        self.watch.images += sum(b.size for b in batches) * self.engine.fabric.world_size
        self.at.batch += len(batches)
        self.at.step += 1
        self._session_steps += 1
        if self.engine.device.type == "cpu":
            self.divergence.check(float(losses["total"]), self.at.step, self._kept())

    def _tell_step(self, loss: Mapping[str, float] | None) -> None:
        """Report the step if it is due, and write the checkpoint that is due after it."""
        if loss is not None:
            self._report_step(loss)
        if self.train.checkpoint_every_steps and self.at.step % self.train.checkpoint_every_steps == 0:
            self._save("last")

    def _due_loss(self) -> dict[str, float] | None:
        """The mean losses of the steps since the last report, when a report is due. Waits for the device."""
        every = max(1, min(50, self.steps_per_epoch // 10))
        if self.at.step % every and self.at.batch < self.batches:
            return None
        loss = self.engine.means(self.window.means())
        self.window.reset()
        return loss

    def _rate(self) -> float:
        assert not isinstance(self.train.lr, str)
        steps = {self.at.step, self._due_step()}  # the warm-up counts steps, whatever the clock says
        return self.train.lr * min(
            rate_factor(self.train, step, self.steps_per_epoch, self.total_steps) for step in steps
        )

    def _due_step(self) -> int:
        """The step that the schedule is at: by the clock it may be ahead of those that were done."""
        if not self.train.by_clock or self.train.minutes is None:
            return self.at.step
        ppm = round(1e6 * self.watch.spent_s / (60 * self.train.minutes))
        return max(self.at.step, min(self.engine.largest(ppm) * self.total_steps // 1_000_000, self.total_steps))

    def _eta_s(self) -> float | None:
        """Seconds to the end of the last epoch, or of the minutes."""
        left = self.watch.eta_s(self._session_steps, self.total_steps - self.at.step)
        if left is None or self.train.minutes is None:
            return left
        return min(left, max(60 * self.train.minutes - self.watch.spent_s, 0.0))

    def _report_step(self, loss: Mapping[str, float]) -> None:
        self.divergence.check(loss["total"], self.at.step, self._kept())
        rate = max(group["lr"] for group in self.engine.optimiser.param_groups)
        self._emit(
            "step",
            step=self.at.step,
            epoch=self.at.epoch + 1,
            total_steps=self.total_steps,
            loss=loss,
            lr=rate,
            images_per_s=self.watch.images_per_s,
            data_wait=self.watch.data_wait,
            memory_mb=peak_memory_mb(self.engine.device),
            eta_s=self._eta_s(),
        )
        self.board.write({f"loss/{name}": value for name, value in loss.items()} | {"lr": rate}, self.at.step)

    def _stop_if_asked(self) -> None:
        wanted = _INTERRUPTED if self.stop.requested else _OUT_OF_TIME if self._out_of_time() else _RUNNING
        wanted = self.engine.largest(wanted)
        if wanted == _INTERRUPTED:
            self._interrupt()
        if wanted == _OUT_OF_TIME:
            self.stopped = "minutes"

    def _interrupt(self) -> NoReturn:
        path = self._save("last")
        raise InterruptedByUser(
            Problem(
                "",
                f"interrupted after step {self.at.step}; the checkpoint is in {path}",
                fix=f"go on with: espalier train --resume {self.checkpoints.parent}",
            )
        )

    def _out_of_time(self) -> bool:
        minutes = self.train.minutes
        return minutes is not None and self.watch.spent_s + self.watch.evaluating_s >= 60 * minutes

    # ---- the end of an epoch -------------------------------------------------------------------------------------

    def _close_epoch(self) -> None:
        """Validate, decide whether to go on, write the checkpoints: the best first, so that a kill loses neither."""
        before = replace(self.at), self.stopped
        number = self.at.epoch + 1
        if self.at.batch >= self.batches:
            self.at.epoch, self.at.batch = number, 0
        if self.stopped is None and self.at.epoch >= self.epochs:
            self.stopped = "epochs"
        due = self.stopped is not None or number % self.train.evaluate_every_epochs == 0
        try:
            scores = self._evaluate() if due and self.validate is not None else {}
        except StopNow:
            self.at, self.stopped = before  # validation is done again by the run that goes on
            self._interrupt()
        loss = self.engine.means(self.epoch_means.means())
        self.epoch_means.reset()
        self._emit("epoch", epoch=number, step=self.at.step, figures=scores, train_loss=loss)
        self.board.write(scores | {f"train_loss/{name}": value for name, value in loss.items()}, self.at.step)
        self._keep(scores, number)
        if self.engine.largest(int(self.stop.requested)):
            self._interrupt()

    def _evaluate(self) -> dict[str, float]:
        """The figures of the evaluated weights: made by the first rank, told to all."""
        assert self.validate is not None
        started = time.perf_counter()
        model = self.engine.evaluated()
        alone = self.engine.fabric.world_size == 1  # several could not leave off together
        with self.stop.at_once(alone):
            figures = {k: float(v) for k, v in self.validate(model).items()} if self.engine.first_rank else {}
        self.watch.evaluating_s = time.perf_counter() - started
        told: dict[str, float] = self.engine.fabric.broadcast(figures)
        if self.monitor not in told:
            raise SpecError(
                Problem(
                    "train.monitor", f"validation gives no '{self.monitor}'", f"it gives: {', '.join(sorted(told))}"
                )
            )
        return told

    def _keep(self, scores: Mapping[str, float], number: int) -> None:
        improved = bool(scores) and self.best.improves(scores[self.monitor], number)
        if self.stopped is None and scores and self.best.stale(number, self.train.patience_epochs):
            self.stopped = "patience"
        if improved or (self.stopped is not None and not exists(self.checkpoints / "best")) or self._unscored_end:
            self._save("best", scores)
        self._save("last", scores)

    @property
    def _unscored_end(self) -> bool:
        return self.stopped is not None and self.validate is None

    # ---- checkpoints ---------------------------------------------------------------------------------------------

    def _save(self, name: str, figures: Mapping[str, float] | None = None) -> Path:
        """Write a checkpoint on the first rank. Raises DivergedError, the old one kept, when a weight is not finite."""
        path = self.checkpoints / name
        if not self.engine.finite():
            raise DivergedError(
                Problem(
                    "train",
                    f"a weight became NaN or infinite before step {self.at.step}",
                    self._kept(),
                    "try a smaller train.lr or train.precision=fp32",
                )
            )
        model_state, trainer_state = self.engine.model_state(), self.engine.trainer_state(self._values())
        if self.engine.first_rank:
            self._emit("checkpoint", name=name, epoch=self.at.epoch, step=self.at.step)
            info = {
                **self.meta,
                "figures": {k: v if math.isfinite(v) else None for k, v in (figures or {}).items()},
                "epoch": self.at.epoch,
                "step": self.at.step,
                "events_offset": self.record.event_offset(),
            }
            save_checkpoint(path, model_state, trainer_state, info)
        self.engine.fabric.barrier()
        return path

    def _values(self) -> dict[str, Any]:
        return {
            "position": asdict(self.at),
            "best": self.best.to_json(),
            "first_loss": self.divergence.first,
            "window": self.window.to_json(),
            "epoch_means": self.epoch_means.to_json(),
            "seconds": self.watch.spent_s,
            "evaluating_s": self.watch.evaluating_s,
            "stopped": self.stopped,
            "threads": torch.get_num_threads(),
        }

    def _restore(self) -> None:
        """Go on from `last`: everything as it was, the events after it forgotten. Raises ModelError if it can't be."""
        checkpoint = load_checkpoint(self.checkpoints / "last")
        state = checkpoint.trainer_state()
        try:
            self._adopt(state.values)
            self.engine.restore(checkpoint.model_state(), state)
            offset = int(checkpoint.info["events_offset"])
            trained = checkpoint.info.get("spec", {}).get("train")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"the trainer's state is damaged ({type(error).__name__}: {error})"
            fix = "begin a new run with train.start_from"
            raise ModelError(Problem(str(checkpoint.path / INFO_FILE), what, fix=fix)) from error
        if self.engine.first_rank:
            self.record.cut_events(offset)
        if trained != self.meta.get("spec", {}).get("train"):
            self._emit("warning", text=_OTHER_TRAIN)

    def _adopt(self, values: Mapping[str, Any]) -> None:
        self.at = Position(**values["position"])
        self.best.from_json(values["best"])
        self.divergence.first = values["first_loss"]
        self.window.from_json(values["window"], self.engine.device)
        self.epoch_means.from_json(values["epoch_means"], self.engine.device)
        self.watch = Stopwatch(before_s=float(values["seconds"]), evaluating_s=float(values["evaluating_s"]))
        self.stopped = self._still_stopped(values["stopped"])
        if self.train.deterministic and torch.get_num_threads() != values["threads"]:
            torch.set_num_threads(int(values["threads"]))  # sums in another number of parts differ in their last bits

    def _still_stopped(self, stopped: str | None) -> str | None:
        """A finished run stays finished, unless it is given more epochs or minutes."""
        if stopped == "minutes" and not self._out_of_time():
            return None
        return None if stopped == "epochs" and self.at.epoch < self.epochs else stopped

    def _kept(self) -> str:
        names = [name for name in ("best", "last") if exists(self.checkpoints / name)]
        where = " and ".join(str(self.checkpoints / name) for name in names)
        return f"the last good checkpoint is kept: {where}" if names else "no checkpoint was written yet"

    # ---- devices -------------------------------------------------------------------------------------------------

    def _probe(self) -> None:
        """Does the worst batch fit? Cut it until it does."""
        worst = self.loader.worst()
        self.engine.probe(Batch(worst.inputs, worst.targets, worst.names))
        if self.engine.parts > 1:
            self._tell_parts(1)

    def _tell_ways(self) -> None:
        for part, chosen, reason in ways_of(self.engine.model, self.engine.device, self.train):
            self._emit("decision", field=part, asked="auto", chosen=chosen, reason=reason)

    def _tell_parts(self, before: int) -> None:
        size, now = self.train.batch_size, self.engine.parts
        self._emit(
            "decision",
            field="train.batch_size",
            asked=size,
            chosen=f"{size} in {now} parts",
            reason=f"out of memory in {before}: each batch is cut into {now} parts whose gradients add up, "
            "so that an optimiser step still sees as many pictures",
        )

    def _emit(self, kind: str, **data: Any) -> None:
        if self.engine.first_rank:
            self.record.emit(kind, **data)

    def _result(self) -> TrainResult:
        assert self.stopped is not None
        return TrainResult(
            self.checkpoints / "best",
            self.best.value,
            self.best.epoch,
            self.at.epoch,
            self.at.step,
            self.stopped,
            self.watch.spent_s,
            self.watch.images_per_s,
            self.watch.data_wait,
        )


def _resolved(train: TrainSpec) -> int:
    """The number of epochs. Raises SpecError while a value that the loop needs is `auto`."""
    open_fields = [name for name in ("epochs", "lr", "batch_size", "warmup_epochs") if getattr(train, name) == "auto"]
    if open_fields or isinstance(train.epochs, str):
        raise SpecError(*(Problem(f"train.{n}", "is still 'auto'", fix="resolve the spec") for n in open_fields))
    return train.epochs
