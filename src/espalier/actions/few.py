"""Few labelled pictures: scores by repeated, group-aware k-fold, a paired choice, then training on all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from espalier.actions import finetune, labels
from espalier.actions.chosen import FROZEN, TUNED, Candidate, Choice, Trained, choose
from espalier.actions.finetune import Plan
from espalier.actions.frozen import Frozen, Rows
from espalier.actions.labels import LabelCurve, LabelPoint
from espalier.actions.recipe import Recipe
from espalier.actions.scoring import Scored, difference_words, words
from espalier.data.index import Index
from espalier.data.split import folds as folds_of
from espalier.data.split import units as units_of
from espalier.errors import DivergedError
from espalier.runs.run import Run
from espalier.spec.verbs import FitSpec

if TYPE_CHECKING:
    from espalier.layers.model import TrainableModel

RESAMPLES = 1000
TRIAL_SHARE = 0.3  # of the minutes, at most, for fine-tuning in the k-fold
TRIAL_LEAST_S, TRIAL_S_PER_PICTURE = 40.0, 0.8  # and never more than so long: few pictures need no more
OVERRUN = 1.3  # times the planned seconds, after which fine-tuning is given up
LEAST_SCORED = 0.5  # share of the folds that fine-tuning must be scored on to be compared


@dataclass(frozen=True)
class Fold:
    """Rows to train on and rows to score."""

    train: Rows
    test: Rows


def folds(index: Index, asked: FitSpec, *, seed: int) -> list[list[Fold]]:
    """The folds of each repeat, fewer than asked for where there are fewer groups. Raises DataError for one group."""
    units = int(units_of(index, near_duplicates=False).max()) + 1
    each = min(asked.folds, max(units, 2))
    made = folds_of(index, each, asked.repeats, seed, near_duplicates=False)
    both = [Fold(np.asarray(train, np.int64), np.asarray(test, np.int64)) for train, test in made]
    return [both[start : start + each] for start in range(0, len(both), each)]


def train(frozen: Frozen, index: Index, asked: FitSpec, run: Run, *, seconds: float) -> Trained:
    """The protocol; `seconds` is what may be spent on training and trying."""
    begin = time.perf_counter()
    repeats = folds(index, asked, seed=frozen.recipe.spec.seed)
    scored = out_of_fold(frozen, [fold for repeat in repeats for fold in repeat])
    first = Candidate(FROZEN, scored, frozen.seconds + time.perf_counter() - begin)
    main = scored.scores.figures[scored.scores.main]
    run.say(
        f"{FROZEN}: {words(main)}, out of fold ({len(repeats)} × {len(repeats[0])} folds), {first.seconds:.0f} s in all"
    )
    curve = label_curve(frozen, index, repeats, scored) if asked.label_curve else None
    if curve is not None:
        run.say(curve.words)
    choice, made = _try_fine_tuning(frozen, index, repeats[0], first, asked, run, seconds=seconds)
    run.say(f"kept: {choice.kept.way} ({choice.reason})")
    model, recipe, epochs = _on_all(frozen, index, choice, made, run)
    scored_on = [repeats[0][: made.folds]] if choice.tuned and made is not None else repeats
    return Trained(model, recipe, choice, _words(index, scored_on), True, epochs, curve)


def _words(index: Index, scored_on: Sequence[Sequence[Fold]]) -> str:
    """Of which pictures the scores are; `scored_on` are the folds of each repeat that the kept way was scored on."""
    times = f"{len(scored_on)} × " if len(scored_on) > 1 else ""
    kept = ", groups kept whole" if index.group is not None else ""
    count = len(np.unique(np.concatenate([fold.test for folds in scored_on for fold in folds])))
    which = f"each of the {len(index)}" if count == len(index) else f"each of {count} of the {len(index)}"
    return (
        f"out of fold: {which} pictures was scored by models that never saw it "
        f"({times}{len(scored_on[0])} folds{kept}); the model that is deployed was then trained on all of them"
    )


def out_of_fold(frozen: Frozen, parts: Sequence[Fold], *, share: float = 1.0) -> Scored:
    """Heads on `share` of each fold's training pictures, scored on its other pictures."""
    begin = time.perf_counter()
    rng = np.random.default_rng(frozen.recipe.spec.seed)
    strata = frozen.strata
    said = []
    for fold in parts:
        rows = fold.train if share == 1.0 else labels.subset(fold.train, strata, share, rng)
        said += frozen.predictions(frozen.head(rows), fold.test)
    rows = np.concatenate([fold.test for fold in parts])
    scores = frozen.scores(said, rows, bootstrap=RESAMPLES)
    return Scored(tuple(said), tuple(frozen.truths_of(rows)), scores, time.perf_counter() - begin)


def label_curve(frozen: Frozen, index: Index, repeats: Sequence[Sequence[Fold]], whole: Scored) -> LabelCurve:
    """The scores of heads on 25, 50 and 100 % of the labels, out of fold, and what more labels would bring."""
    task, seed = frozen.recipe.task, frozen.recipe.spec.seed
    parts = [fold for repeat in repeats for fold in repeat]
    size = float(np.mean([len(fold.train) for fold in parts]))
    points = []
    for share in labels.SHARES:
        scored = whole if share == 1.0 else out_of_fold(frozen, parts, share=share)
        drawn = task.resample(scored.scores, n=RESAMPLES, seed=seed)
        points.append(LabelPoint(share * size, scored.scores.value, drawn))
    name = whole.scores.figures[whole.scores.main].name
    return labels.extrapolate(points, labels_now=len(index), name=name, seed=seed)


def _try_fine_tuning(
    frozen: Frozen, index: Index, parts: Sequence[Fold], first: Candidate, asked: FitSpec, run: Run, *, seconds: float
) -> tuple[Choice, Plan | None]:
    """The choice, and how fine-tuning was done (None: it was not tried)."""
    if not asked.finetune:
        return Choice(first, "fine-tuning was not asked for", (first,)), None
    most = min(TRIAL_SHARE * seconds, TRIAL_LEAST_S + TRIAL_S_PER_PICTURE * len(index))
    least = math.ceil(LEAST_SCORED * len(parts))
    training = index.subset(parts[0].train)
    made = finetune.plan(frozen.recipe, frozen.model, training, seconds=most, folds=(least, len(parts)))
    if made is None:
        reason = f"fine-tuning in {least} folds does not fit into {most:.0f} s"
        run.say(f"{reason}; more --minutes let it be tried")
        return Choice(first, reason, (first,)), None
    run.say(f"trying fine-tuning: {made.words}, at most {most:.0f} s")
    try:
        second = _tuned_out_of_fold(frozen, index, parts[: made.folds], made, seconds=OVERRUN * most)
    except DivergedError as error:
        return Choice(first, f"fine-tuning failed: {error.problems[0].what}", (first,)), None
    if second is None:
        reason = f"fine-tuning did not come to an end in {OVERRUN * most:.0f} s"
        return Choice(first, reason, (first,)), None
    mine, recipe = out_of_fold(frozen, parts).scores, frozen.recipe
    comparison = recipe.task.compare(mine, second.scored.scores, bootstrap=2 * RESAMPLES, seed=recipe.spec.seed)
    said = f"fine-tuned against frozen on the same {comparison.n} pictures: {difference_words(comparison.figure)}"
    run.say(f"{said}: {comparison.verdict}")
    return choose(first, second, comparison), made


def _tuned_out_of_fold(
    frozen: Frozen, index: Index, parts: Sequence[Fold], made: Plan, *, seconds: float
) -> Candidate | None:
    """Fine-tuned from each fold's own head, fold by fold; None where the time did not suffice."""
    begin = time.perf_counter()
    said: list[Any] = []
    recipe = frozen.recipe.with_train(epochs=made.epochs, freeze=made.frozen, workers=0)
    for fold in parts:
        left = max(seconds - (time.perf_counter() - begin), 1.0)
        model = frozen.started(fold.train)
        some = finetune.trial(recipe, model, index.subset(fold.train), index.subset(fold.test), seconds=left)
        if some is None:
            return None
        said += some
    tested = np.concatenate([fold.test for fold in parts])
    scores = frozen.scores(said, tested, bootstrap=RESAMPLES)
    spent = time.perf_counter() - begin
    return Candidate(TUNED, Scored(tuple(said), tuple(frozen.truths_of(tested)), scores, spent), spent)


def _on_all(
    frozen: Frozen, index: Index, choice: Choice, made: Plan | None, run: Run
) -> tuple[TrainableModel, Recipe, int]:
    """The chosen way on all pictures, its recipe, and its epochs."""
    model = frozen.started(np.arange(len(index)))
    if not choice.tuned or made is None:
        run.say(f"trained the head on all {len(index)} pictures")
        return model, frozen.recipe, 0
    recipe = frozen.recipe.with_train(epochs=made.epochs, freeze=made.frozen)
    result = finetune.tune(
        recipe,
        model,
        index,
        validate=None,
        monitor="",
        higher_is_better=True,
        checkpoints=run.folder("checkpoints"),
        record=run,
        meta=recipe.info(index, run, trained_on_all=True).to_json(),
    )
    run.say(f"fine-tuned on all {len(index)} pictures: {result.epochs} epochs in {result.seconds:.0f} s")
    return model, recipe, result.epochs
