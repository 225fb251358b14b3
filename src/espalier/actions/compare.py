"""`compare`: better, worse, or can't tell; each model against the first, paired over the same pictures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espalier.actions import labelled
from espalier.actions.models import OpenModel, open_model
from espalier.actions.scoring import (
    Scored,
    as_difference,
    difference_words,
    figure_names,
    figures_json,
    galleries,
    score,
)
from espalier.blocks import Figure, Headline, Table
from espalier.data.samples import Samples
from espalier.errors import ModelError, Problem, UsageError
from espalier.runs.run import Run
from espalier.spec.sections import Spec
from espalier.spec.verbs import CompareSpec
from espalier.tasks.base import Comparison

TIMED_PICTURES = 32
ROUNDS = 3


@dataclass(frozen=True)
class Contestant:
    """A model, its short name, what it scored, and how quick and large it is."""

    name: str
    model: OpenModel
    scored: Scored
    ms_per_picture: float | None
    size_mb: float


def compare(spec: Spec, run: Run) -> dict[str, Any]:
    """Each model's figures and its verdict against the first. Raises ModelError, DataError, UsageError."""
    asked = spec.compare
    if len(asked.models) < 2:
        raise UsageError(Problem("compare.models", "two models are needed", fix="espalier compare MODEL_A MODEL_B"))
    models = [open_model(path, device=asked.device, licences=spec.licences) for path in asked.models]
    _same_question(models)
    pictures = labelled.for_scoring(asked.data, models[0], split_name="compare.data")
    run.say(f"comparing on {pictures.words}: {len(pictures.index)} pictures")
    for name, model in zip(_names(models), models, strict=True):
        labelled.warn_of_seen(model, name, pictures, run)
    run.note(data={"compared": pictures.words, "fingerprint": pictures.index.fingerprint()})
    found = _contestants(models, pictures, spec, run)
    comparisons = [_against_first(found[0], other, asked, spec.seed) for other in found[1:]]
    for other, comparison in zip(found[1:], comparisons, strict=True):
        run.say(f"{other.name} against {found[0].name}: {comparison.verdict}; {difference_words(comparison.figure)}")
        _show(run, found[0], other, comparison, pictures, asked)
    run.block("result", _scores_table(found))
    run.block("speed", _speed_table(found))
    return _result(found, comparisons)


def _same_question(models: Sequence[OpenModel]) -> None:
    first = models[0]
    for other in models[1:]:
        if other.task.name != first.task.name:
            what = f"does {other.task.name}, and {first.path} does {first.task.name}"
            raise ModelError(Problem(str(other.path), what, fix="compare models of one task"))
        if set(other.classes) != set(first.classes):
            apart = sorted(set(other.classes) ^ set(first.classes))
            what = f"has other classes than {first.path}: {', '.join(apart[:10])}"
            raise ModelError(Problem(str(other.path), what, fix="compare models of the same classes"))


def _contestants(models: Sequence[OpenModel], pictures: labelled.Labelled, spec: Spec, run: Run) -> list[Contestant]:
    asked, names = spec.compare, _names(models)
    scored = []
    for name, model in zip(names, models, strict=True):
        samples = _samples(model, pictures, spec)
        scored.append(
            score(model.predictor(batch_size=asked.batch_size), samples, bootstrap=asked.bootstrap, seed=spec.seed)
        )
        run.say(f"{name}: {len(samples)} pictures scored")
    times = _times(models, pictures, spec) if asked.speed else [None] * len(models)
    rows = zip(names, models, scored, times, strict=True)
    return [Contestant(name, model, s, ms, _size_mb(model.path)) for name, model, s, ms in rows]


def _samples(model: OpenModel, pictures: labelled.Labelled, spec: Spec) -> Samples:
    """The pictures with class ids in the model's own order."""
    own = labelled.Labelled(pictures.index.with_classes(model.classes), pictures.words)
    return own.samples(model, max_pixels=spec.data.max_pixels)


def _names(models: Sequence[OpenModel]) -> list[str]:
    """Short names: the model's path, told apart by the letter of its place."""
    return [f"{chr(ord('A') + i)} ({model.name}, {model.kind})" for i, model in enumerate(models)]


def _against_first(first: Contestant, other: Contestant, asked: CompareSpec, seed: int) -> Comparison:
    task = first.model.task
    return task.compare(first.scored.scores, other.scored.scores, bootstrap=asked.bootstrap, seed=seed)


def _times(models: Sequence[OpenModel], pictures: labelled.Labelled, spec: Spec) -> list[float]:
    """Milliseconds a picture (prepare, run, decode; not reading), the models in turn, the median of the rounds."""
    taken: list[list[float]] = [[] for _ in models]
    count = min(TIMED_PICTURES, len(pictures.index))
    queries = []
    for model in models:
        samples = _samples(model, pictures, spec)
        queries.append([samples[row].query for row in range(count)])
    predictors = [model.predictor(batch_size=spec.compare.batch_size) for model in models]
    for predictor, own in zip(predictors, queries, strict=True):
        predictor(own[: spec.compare.batch_size])  # the first call warms up
    for _ in range(ROUNDS):
        for place, (predictor, own) in enumerate(zip(predictors, queries, strict=True)):
            start = time.perf_counter()
            predictor(own)
            taken[place].append(1000 * (time.perf_counter() - start) / count)
    return [float(np.median(ms)) for ms in taken]


def _size_mb(path: Path) -> float:
    """What the model takes on disk: of a checkpoint its weights alone."""
    weights = path / "model.safetensors"
    if path.is_file() or weights.is_file():
        return (path if path.is_file() else weights).stat().st_size / 2**20
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and "golden" not in file.parts) / 2**20


def _show(
    run: Run,
    first: Contestant,
    other: Contestant,
    comparison: Comparison,
    pictures: labelled.Labelled,
    asked: CompareSpec,
) -> None:
    title = f"{other.name} against {first.name}: {comparison.verdict}"
    note = f"{comparison.n} pictures, paired; 95 % intervals of the difference from {asked.bootstrap} resamples"
    figures = [as_difference(figure) for figure in (comparison.figure, *comparison.others)]
    run.block("result", Headline(title, figures, note))
    samples = Samples(pictures.index.with_classes(first.model.classes), first.model.task, first.model.channels)
    letter = other.name[0]
    shown = galleries(
        run, samples, first.scored, count=asked.pictures, prefix=f"{letter}-", mistakes=comparison.changed
    )
    for gallery in shown:
        titled = f"{letter}: {gallery.title[0].lower()}{gallery.title[1:]}"
        run.block("mistakes", type(gallery)(titled, gallery.pictures, gallery.note))


def _scores_table(found: Sequence[Contestant]) -> Table:
    names = figure_names([one.scored.scores for one in found])
    rows: list[list[str | Figure | None]] = [
        [one.name, *(one.scored.scores.figures.get(key) for key in names)] for one in found
    ]
    return Table("Each model", ["model", *names.values()], rows)


def _speed_table(found: Sequence[Contestant]) -> Table:
    rows: list[list[str | float | None]] = [
        [one.name, one.model.backend.name, one.model.backend.device,
         None if one.ms_per_picture is None else round(one.ms_per_picture, 2), round(one.size_mb, 2)]
        for one in found
    ]  # fmt: skip
    note = f"prepare, run and decode, without reading; the models in turn, the median of {ROUNDS} rounds"
    return Table("Speed and size", ["model", "backend", "device", "ms/picture", "MB"], rows, note)


def _result(found: Sequence[Contestant], comparisons: Sequence[Comparison]) -> dict[str, Any]:
    models = [
        {"name": one.name, "path": str(one.model.path), "kind": one.model.kind, "ms_per_picture": one.ms_per_picture,
         "size_mb": round(one.size_mb, 3), **figures_json(one.scored.scores)}
        for one in found
    ]  # fmt: skip
    verdicts = [
        {"model": str(other.model.path), "against": str(found[0].model.path), "verdict": c.verdict,
         "figure": c.figure.name, "difference": c.figure.value, "low": c.figure.low,
         "high": c.figure.high, "pictures": c.n,
         "changed": [{"picture": found[0].scored.samples[m.index].name, "kind": m.kind} for m in c.changed]}
        for other, c in zip(found[1:], comparisons, strict=True)
    ]  # fmt: skip
    return {"models": models, "comparisons": verdicts}
