"""Enough labelled pictures: some are held out, the frozen head and fine-tuning are scored on them, paired.

Nothing else is chosen on the pictures held out, not even an epoch: fine-tuning runs to the end of its schedule.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from espalier.actions import finetune, frozen, labels
from espalier.actions.chosen import FROZEN, TUNED, Candidate, Choice, Trained, choose
from espalier.actions.finetune import Plan
from espalier.actions.frozen import Frozen, Rows
from espalier.actions.labels import LabelCurve, LabelPoint
from espalier.actions.recipe import Recipe
from espalier.actions.scoring import Scored, difference_words, words
from espalier.data.index import Index
from espalier.errors import DivergedError
from espalier.runs.run import Run
from espalier.spec.verbs import FitSpec
from espalier.tasks.base import Scores
from espalier.trainer.loop import TrainResult

RESAMPLES = 1000
EMBED_SHARE = 0.3  # of the minutes, at most, for the features
DRAWS = 3  # of the pictures that a point of the label curve learns from
OVERRUN = 1.2  # times the planned seconds, after which training ends where it is


def train(
    recipe: Recipe, learn: Index, held_out: Index, where: str, asked: FitSpec, run: Run, *, seconds: float
) -> Trained:
    """The protocol; `seconds` is what may be spent on training and trying, `where` says where `held_out` is from."""
    begin = time.perf_counter()
    known = frozen.embed(recipe, learn, run, seconds=EMBED_SHARE * seconds)
    recipe = known.recipe
    apart = frozen.embed(recipe, held_out, run, beside=known)
    scored = _scored(known, apart, known.rows)
    first = Candidate(FROZEN, scored, time.perf_counter() - begin)
    run.say(f"{FROZEN}: {words(scored.scores.figures[scored.scores.main])}, {first.seconds:.0f} s in all")
    curve = label_curve(known, apart, scored, len(learn)) if asked.label_curve else None
    if curve is not None:
        run.say(curve.words)
    left = seconds - (time.perf_counter() - begin)
    choice, made, result = _try_fine_tuning(known, learn, held_out, first, asked, run, seconds=left)
    run.say(f"kept: {choice.kept.way} ({choice.reason})")
    if choice.tuned and made is not None and result is not None:
        tuned = recipe.with_train(epochs=made.epochs, freeze=made.frozen)
        return Trained(known.model, tuned, choice, where, False, result.epochs, curve)
    return Trained(known.started(known.rows), recipe, choice, where, False, 0, curve)


def _scored(known: Frozen, apart: Frozen, rows: Rows) -> Scored:
    """A head of these training pictures, scored on the others."""
    begin = time.perf_counter()
    said = apart.predictions(known.head(rows), apart.rows)
    scores = apart.scores(said, apart.rows, bootstrap=RESAMPLES)
    return Scored(tuple(said), apart.truths, scores, time.perf_counter() - begin)


def label_curve(known: Frozen, apart: Frozen, whole: Scored, labels_now: int) -> LabelCurve:
    """Heads on 25, 50 and 100 % of the labels, each share drawn a few times, scored on the pictures held out."""
    recipe = known.recipe
    rng = np.random.default_rng(recipe.spec.seed)
    points = []
    for share in labels.SHARES:
        scores = whole.scores if share == 1.0 else _of_share(known, apart, share, rng)
        drawn = recipe.task.resample(scores, n=RESAMPLES, seed=recipe.spec.seed)
        points.append(LabelPoint(share * len(known.truths), scores.value, drawn))
    name = whole.scores.figures[whole.scores.main].name
    return labels.extrapolate(points, labels_now=labels_now, name=name, seed=recipe.spec.seed)


def _of_share(known: Frozen, apart: Frozen, share: float, rng: np.random.Generator) -> Scores:
    said: list[Any] = []
    rows: list[Rows] = []
    for _ in range(DRAWS):
        said += apart.predictions(known.head(labels.subset(known.rows, known.strata, share, rng)), apart.rows)
        rows.append(apart.rows)
    return apart.scores(said, np.concatenate(rows), bootstrap=0)


def _try_fine_tuning(
    known: Frozen, learn: Index, held_out: Index, first: Candidate, asked: FitSpec, run: Run, *, seconds: float
) -> tuple[Choice, Plan | None, TrainResult | None]:
    """The choice, how fine-tuning was done and how it ended (None: it was not tried)."""
    if not asked.finetune:
        return Choice(first, "fine-tuning was not asked for", (first,)), None, None
    begin = time.perf_counter()
    made = finetune.plan(known.recipe, known.model, learn, seconds=max(seconds, 0))
    if made is None:
        reason = f"fine-tuning does not fit into the {max(seconds, 0):.0f} s that are left"
        run.say(f"{reason}; more --minutes let it be tried")
        return Choice(first, reason, (first,)), None, None
    run.say(f"fine-tuning: {made.words}, at most {seconds:.0f} s")
    try:
        result = _tune(known, learn, made, run, seconds=OVERRUN * seconds)
    except DivergedError as error:
        return Choice(first, f"fine-tuning failed: {error.problems[0].what}", (first,)), None, None
    said = finetune.predictions(known.recipe, known.model, held_out)
    truths = frozen.truths_of(known.recipe, held_out)
    recipe = known.recipe
    scored = frozen.score_all(recipe, said, truths, bootstrap=RESAMPLES)
    second = Candidate(TUNED, scored, time.perf_counter() - begin)
    comparison = recipe.task.compare(first.scored.scores, scored.scores, bootstrap=2 * RESAMPLES, seed=recipe.spec.seed)
    line = f"fine-tuned against frozen on the same {comparison.n} pictures: {difference_words(comparison.figure)}"
    run.say(f"{line}: {comparison.verdict}")
    return choose(first, second, comparison), made, result


def _tune(known: Frozen, learn: Index, made: Plan, run: Run, *, seconds: float) -> TrainResult:
    """Fine-tuned from the frozen head; the last weights are kept, since the pictures held out must choose nothing."""
    recipe = known.recipe.with_train(epochs=made.epochs, freeze=made.frozen, minutes=seconds / 60)
    return finetune.tune(
        recipe,
        known.started(known.rows),
        learn,
        validate=None,
        monitor="",
        higher_is_better=True,
        checkpoints=run.folder("checkpoints"),
        record=run,
        meta=recipe.info(learn, run).to_json(),
    )
