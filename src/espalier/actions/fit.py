"""`fit`: your photographs in, a verified bundle and a report out; over cards and tasks alone, never over a name."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from espalier.actions import enough, evaluate, few, frozen, labels, whole
from espalier.actions.begin import Begun, begin, task_for
from espalier.actions.chosen import Trained, choice_blocks, save
from espalier.actions.export import export_model
from espalier.actions.gather import Gathered, gather, read
from espalier.actions.kept_classes import with_kept_classes
from espalier.actions.models import CheckpointModel, lookup, open_model
from espalier.actions.recipe import Recipe, make
from espalier.actions.scoring import figures_json, galleries, noted, words
from espalier.actions.verify import verify
from espalier.blocks import Table
from espalier.runs.report import write_report
from espalier.runs.run import Run
from espalier.spec.dump import to_yaml
from espalier.spec.load import updated
from espalier.spec.sections import Spec

RESERVE_SHARE, RESERVE_MOST_S = 0.25, 90.0  # of the minutes, kept for export, proof and report


@dataclass
class Clock:
    """How long each step took, and what is left of the minutes."""

    minutes: float
    began: float = field(default_factory=time.perf_counter)
    steps: list[tuple[str, float]] = field(default_factory=list)

    @property
    def spent_s(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.began

    def for_training_s(self) -> float:
        """Seconds that training may take, so that the rest still fits."""
        return max(60 * self.minutes - self.spent_s - min(RESERVE_MOST_S, 60 * RESERVE_SHARE * self.minutes), 1.0)

    def done(self, step: str) -> None:
        """The step that ends here."""
        self.steps.append((step, self.spent_s - sum(seconds for _, seconds in self.steps)))


def fit(spec: Spec, run: Run) -> dict[str, Any]:
    """The result. Raises DataError for pictures that can't be learnt from; ParityError when the bundle differs."""
    clock = Clock(spec.fit.minutes)
    spec = with_kept_classes(spec, run, pictures=spec.fit.photos)
    indexes = read(spec)
    begun = begin(spec, task_for(spec, indexes["train"], run), run)
    data = gather(indexes, spec, begun.task, run, folds=begun.card.probe is not None)
    clock.done("check of the data")
    recipe = _recipe(begun, data, run)
    clock.done("recipe")
    trained = _train(recipe, data, run, clock)
    clock.done("training and trying")
    checkpoint = _keep(trained, data, run)
    _export(checkpoint, trained, data, run)
    clock.done("export and proof")
    final = _evaluate(checkpoint, trained, data, run)
    clock.done("scoring checkpoint and bundle")
    _show(trained, final, data, clock, run)
    return _finish(trained, final, data, clock, run)


def _recipe(begun: Begun, data: Gathered, run: Run) -> Recipe:
    several = not begun.task.background and data.train.multi_label
    run.say(f"task: {begun.task.name}" + (", several labels a picture" if several else ""))
    values: dict[str, Any] = {"data": {"train": begun.spec.fit.photos}}
    if begun.card.probe is None:  # trained as a whole: `whole` says what is left of the minutes when it begins
        values["train"] = {"minutes": begun.spec.fit.minutes, "by_clock": True}
    spec = updated(begun.spec, values, lookup=lookup)
    n_val = 0 if data.val is None else len(data.val)
    recipe = make(replace(begun, spec=spec), data.train, n_val=n_val, run=run)
    run.write_spec(to_yaml(recipe.spec))
    return recipe


def _train(recipe: Recipe, data: Gathered, run: Run, clock: Clock) -> Trained:
    asked, seconds = recipe.spec.fit, clock.for_training_s()
    if recipe.card.probe is None:
        assert data.val is not None
        return whole.train(recipe, data.train, data.val, data.words, run, seconds=seconds)
    if data.val is not None:
        return enough.train(recipe, data.train, data.val, data.words, asked, run, seconds=seconds)
    return few.train(frozen.embed(recipe, data.train, run), data.train, asked, run, seconds=seconds)


def _keep(trained: Trained, data: Gathered, run: Run) -> CheckpointModel:
    """The checkpoint of the trained model, opened again."""
    run.write_spec(to_yaml(trained.recipe.spec))
    meta = trained.recipe.info(data.train, run, trained_on_all=trained.on_all).to_json()
    model = open_model(save(trained, meta, run), device=str(trained.recipe.spec.train.device), backend="torch")
    assert isinstance(model, CheckpointModel)
    return model


def _export(model: CheckpointModel, trained: Trained, data: Gathered, run: Run) -> None:
    """The bundle, proven on golden inputs and on real pictures, and then as anyone proves a copy."""
    recipe = trained.recipe
    options = recipe.spec.export
    proof = recipe.samples(data.train if data.val is None else data.val).spread(options.parity_images)
    export_model(model, proof, options, run, seed=recipe.spec.seed)
    verify(updated(recipe.spec, {"verify": {"bundle": str(run.path / "bundle")}}, lookup=lookup), run)


def _evaluate(checkpoint: CheckpointModel, trained: Trained, data: Gathered, run: Run) -> Sequence[evaluate.Evaluated]:
    """Checkpoint and bundle on the test set, else on the validation set; none where all pictures were learnt from."""
    scored = data.test if data.test is not None else data.val
    if scored is None:
        return ()
    recipe = trained.recipe
    bundle = open_model(run.path / "bundle", backend="onnxruntime")
    samples = recipe.samples(scored)
    words_of = "the test set" if data.test is not None else data.words
    run.say(f"scoring on {words_of}: {len(scored)} pictures")
    found = evaluate.evaluated([checkpoint, bundle], samples, recipe.spec.evaluate, run, seed=recipe.spec.seed)
    evaluate.show(run, samples, found, pictures=recipe.spec.evaluate.pictures)
    return found


def _show(trained: Trained, final: Sequence[evaluate.Evaluated], data: Gathered, clock: Clock, run: Run) -> None:
    """What the report holds beside the checks' and the exporter's blocks."""
    scored = trained.choice.kept.scored
    if not final:
        for block in scored.scores.blocks:
            run.block("result", noted(block, trained.words))
        count = trained.recipe.spec.evaluate.pictures
        for gallery in galleries(run, trained.recipe.samples(data.train), scored, count=count):
            run.block("mistakes", gallery)
    for block in choice_blocks(trained.choice):
        run.block("result", block)
    if trained.curve is not None:
        for block in labels.blocks(trained.curve, scored.scores.figures[scored.scores.main].name):
            run.block("labels", block)
    run.block("speed", _times(trained, clock))


def _times(trained: Trained, clock: Clock) -> Table:
    rows: list[list[str | float]] = [[step, round(seconds, 1)] for step, seconds in clock.steps]
    rows += [[f"of which: {one.way}", round(one.seconds, 1)] for one in trained.choice.tried]
    return Table(
        "Where the time went", ["step", "seconds"], rows, f"{clock.spent_s:.0f} s of {clock.minutes:g} minutes"
    )


def _finish(
    trained: Trained, final: Sequence[evaluate.Evaluated], data: Gathered, clock: Clock, run: Run
) -> dict[str, Any]:
    """The result, recorded; then the page."""
    scores = final[-1].scored.scores if final else trained.choice.kept.scored.scores
    comparison = trained.choice.comparison
    result: dict[str, Any] = {
        "task": trained.recipe.task.name,
        "network": trained.recipe.card.name,
        "way": trained.choice.kept.way,
        "reason": trained.choice.reason,
        "scored": trained.words if data.test is None else f"the test set ({len(data.test)} pictures)",
        "chosen_on": trained.words,
        **figures_json(scores),
        "tried": [
            {"way": one.way, "seconds": round(one.seconds, 2), **figures_json(one.scored.scores)}
            for one in trained.choice.tried
        ],
        "verdict": None if comparison is None else comparison.verdict,
        "labels": None if trained.curve is None else trained.curve.words,
        "checkpoint": "checkpoints/best",
        "bundle": "bundle",
        "seconds": round(clock.spent_s, 1),
    }
    run.say(f"{words(scores.figures[scores.main])}; bundle: {run.path / 'bundle'}; {clock.spent_s:.0f} s")
    if not trained.recipe.spec.fit.report:
        return run.finish(result)
    result["report"] = "report.html"
    done = run.finish(result)
    run.say(f"report: {_page(run)}")
    return done


def _page(run: Run) -> Path:
    return write_report(run.path)
