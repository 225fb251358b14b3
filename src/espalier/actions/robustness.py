"""How much of a model's score is left on corrupted pictures: every picture under every corruption, with intervals."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.actions.models import OpenModel
from espalier.blocks import Figure
from espalier.data.corrupted import CorruptedMaker, CorruptedPicture, corrupted
from espalier.data.samples import Samples
from espalier.errors import DataError, InputError, Problem, SpecError
from espalier.runs.progress import Progress
from espalier.runs.record import cpus
from espalier.runs.run import Run
from espalier.spec.resolve import Decision
from espalier.spec.verbs import CorruptionsSpec
from espalier.tasks import intervals
from espalier.tasks.base import Sample, Scores, Task
from espalier.vision.corruptions import COMMON, Corruption, select
from espalier.vision.prepare import Placed

MOST_WORKERS = 8


@dataclass(frozen=True)
class Suite:
    """Which corruptions, and how strong."""

    names: tuple[str, ...]
    severities: tuple[int, ...]

    @property
    def all(self) -> tuple[Corruption, ...]:
        """Every corruption at every severity, severities within corruptions."""
        return tuple(Corruption(name, severity) for name in self.names for severity in self.severities)

    def place(self, one: Corruption) -> tuple[int, int]:
        """Its row and column in tables of corruptions by severities."""
        return self.names.index(one.name), self.severities.index(one.severity)

    @property
    def counted(self) -> tuple[str, ...]:
        """Those that means are of: the common ones, as published; all where none of those is asked for."""
        return tuple(name for name in self.names if name in COMMON) or self.names


@dataclass(frozen=True)
class Robustness:
    """The headline figure on clean and on corrupted pictures, K corruptions at S severities.

    The B resamples are of the same pictures in clean and corrupted, so that ratios of them are paired.
    """

    suite: Suite
    figure: Figure  # the headline figure on clean pictures
    main: str
    higher_is_better: bool
    value_KS: NDArray[np.float64]
    clean_B: NDArray[np.float64]
    value_KSB: NDArray[np.float64]
    pictures: int
    seconds: float

    def mean(self, names: Sequence[str] | None = None) -> Figure:
        """The score over these corruptions (the counted ones) and all severities."""
        rows = self._rows(names)
        values_B = self.value_KSB[rows].mean(axis=(0, 1))
        name = f"{self.figure.name} when corrupted"
        return with_interval(name, float(self.value_KS[rows].mean()), values_B, self.figure.unit)

    def retention(self, names: Sequence[str] | None = None) -> Figure | None:
        """That score over the clean one; None where the clean one is 0."""
        clean = self.figure.value
        if not clean > 0:
            return None
        mean_B = self.value_KSB[self._rows(names)].mean(axis=(0, 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio_B = np.where(self.clean_B > 0, mean_B / self.clean_B, np.nan)
        name = "retention" if self.higher_is_better else "growth of the error"
        found = with_interval(name, self.mean(names).value / clean, ratio_B, "%")
        note = "corrupted over clean" if self.higher_is_better else "corrupted over clean: less is better"
        return Figure(found.name, found.value, found.low, found.high, "%", found.note or note)

    def _rows(self, names: Sequence[str] | None) -> list[int]:
        return [self.suite.names.index(name) for name in (self.suite.counted if names is None else names)]


def suite(asked: CorruptionsSpec) -> Suite:
    """What the spec asks for. Raises SpecError for an unknown name or nothing at all."""
    try:
        names = select(asked.which, where="evaluate.corruptions.which")
    except InputError as error:
        raise SpecError(*error.problems) from None
    if not asked.severities:
        raise SpecError(Problem("evaluate.corruptions.severities", "no severity is asked for", "whole numbers, 1-5"))
    return Suite(names, tuple(sorted(set(asked.severities))))


def measure(
    model: OpenModel,
    clean: Scores,
    samples: Samples,
    wanted: Suite,
    asked: CorruptionsSpec,
    run: Run,
    *,
    batch_size: int,
    bootstrap: int,
    seed: int,
) -> Robustness:
    """The model on every picture under every corruption, by the path that is deployed; `clean` is what it scores as is.

    Raises what reading a picture raises, and WorkError when a process that corrupts pictures died.
    """
    start = time.perf_counter()
    collected = {one: samples.task.metrics(samples.index.classes) for one in wanted.all}
    maker = CorruptedMaker(samples, model.prepare, seed, asked.at, model.tiling)
    predicted = Progress(run, "corruptions", len(samples) * len(wanted.all), "pictures")
    with corrupted(maker, wanted.all, workers=_workers(asked, run)) as made:
        for one, prediction, sample in _predicted(model, made, batch_size):
            collected[one].update([prediction], [sample])
            predicted.tick()
    scored = Progress(run, "their scores and resamples", len(wanted.all), "corruptions")
    value_KS, value_KSB = _tables(wanted, bootstrap)
    for one in wanted.all:  # what a metric holds goes as soon as it has said its figures
        place = wanted.place(one)
        scores = _paired(one, collected.pop(one).compute(bootstrap=0, seed=seed), clean)
        value_KS[place] = scores.value
        value_KSB[place] = _resampled(samples.task, scores, bootstrap, seed)
        scored.tick()
    clean_B = _resampled(samples.task, clean, bootstrap, seed)
    return Robustness(
        wanted, clean.figures[clean.main], clean.main, clean.higher_is_better, value_KS, clean_B, value_KSB,
        clean.n, time.perf_counter() - start,
    )  # fmt: skip


def with_interval(
    name: str,
    value: float,
    values_B: NDArray[np.float64],
    unit: str,
    *,
    none: str = "no interval: evaluate.bootstrap is 0",
) -> Figure:
    """The figure with the middle 95 % of its resamples; without one where all are alike or, as `none` says, none."""
    if not len(values_B):
        return Figure(name, value, unit=unit, note=none)
    low, high = (float(end) for end in intervals.percentiles(values_B))
    if not low < high:
        return Figure(name, value, unit=unit, note="no interval: every resample gives the same")
    return Figure(name, value, low, high, unit)


def _workers(asked: CorruptionsSpec, run: Run) -> int:
    if asked.workers != "auto":
        return asked.workers
    chosen = min(cpus() - 1, MOST_WORKERS)
    run.decisions([Decision("evaluate.corruptions.workers", "auto", chosen, f"{cpus()} cores, one for the network")])
    return chosen


def _predicted(
    model: OpenModel, made: Iterator[CorruptedPicture], batch_size: int
) -> Iterator[tuple[Corruption, Any, Sample]]:
    """Each corruption with the prediction and the truth, in the order in which they were made."""
    waiting: deque[tuple[Corruption, Sample]] = deque()

    def placed() -> Iterator[Placed]:
        for picture in made:
            waiting.extend((one, picture.sample) for one in picture.plan.corruptions)  # an answer each, tiles or not
            yield from picture.placed

    for prediction in model.predictor(batch_size=batch_size).stream_placed(placed()):
        one, sample = waiting.popleft()
        yield one, prediction, sample


def _tables(wanted: Suite, bootstrap: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Room for the values (K, S) and their resamples (K, S, B)."""
    shape = len(wanted.names), len(wanted.severities)
    return np.zeros(shape), np.zeros((*shape, bootstrap))


def _paired(one: Corruption, scores: Scores, clean: Scores) -> Scores:
    """Those scores. Raises DataError where they are of other pictures than the clean ones: no ratio would be paired."""
    if scores.main != clean.main or tuple(scores.names) != tuple(clean.names):
        raise DataError(f"{one}: was scored on other pictures than the clean score")
    return scores


def _resampled(task: Task, scores: Scores, bootstrap: int, seed: int) -> NDArray[np.float64]:
    return task.resample(scores, n=bootstrap, seed=seed) if bootstrap else np.zeros(0)
