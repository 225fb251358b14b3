"""A network that has no head to fit on frozen features: trained as a whole, for as long as the minutes allow.

The pictures held out choose nothing but the decode parameters, not even an epoch. The schedule ends with the minutes: a
pace that was measured at the beginning is wrong as soon as the machine has something else to do.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from espalier.actions import finetune, frozen
from espalier.actions.chosen import WHOLE, Candidate, Choice, Trained
from espalier.actions.recipe import Recipe
from espalier.actions.scoring import Scored, words
from espalier.actions.start_from import inheriting
from espalier.data.index import Index
from espalier.runs.run import Run

if TYPE_CHECKING:
    from espalier.layers.model import TrainableModel

RESAMPLES = 1000
SCORING_SHARE = 0.1  # of the seconds, kept for scoring the pictures held out


def train(recipe: Recipe, learn: Index, held_out: Index, where: str, run: Run, *, seconds: float) -> Trained:
    """The trained model and its scores; `seconds` is what may be spent, `where` says where `held_out` is from."""
    begin = time.perf_counter()
    model = recipe.build()
    recipe = inheriting(recipe, model, run)
    minutes = (1 - SCORING_SHARE) * seconds / 60
    run.say(f"training as a whole: at most {recipe.spec.train.epochs} epochs, {minutes:.1f} minutes by the clock")
    recipe = recipe.with_train(minutes=minutes, by_clock=True)
    result = finetune.tune(
        recipe,
        model,
        learn,
        validate=None,
        monitor="",
        higher_is_better=True,
        checkpoints=run.folder("checkpoints"),
        record=run,
        meta=recipe.info(learn, run).to_json(),
    )
    run.say(f"{WHOLE}: {result.steps} steps, {result.epochs} whole epochs, in {result.seconds:.0f} s")
    scored = _scored(recipe, model, held_out)
    if scored.scores.suggested:
        recipe = recipe.suited(scored.scores, where, run)
        scored = _scored(recipe, model, held_out)
    run.say(f"{words(scored.scores.figures[scored.scores.main])}, on {where}")
    kept = Candidate(WHOLE, scored, time.perf_counter() - begin)
    reason = f"{recipe.card.name} has no head to fit on frozen features"
    return Trained(model, recipe, Choice(kept, reason, (kept,)), where, False, result.epochs)


def _scored(recipe: Recipe, model: TrainableModel, held_out: Index) -> Scored:
    said = finetune.predictions(recipe, model, held_out)
    return frozen.score_all(recipe, said, frozen.truths_of(recipe, held_out), bootstrap=RESAMPLES)
