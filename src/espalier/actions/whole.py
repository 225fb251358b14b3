"""A network that has no head to fit on frozen features: trained as a whole, for as long as the minutes allow.

The pictures held out choose nothing but the decode parameters, not even an epoch: training runs to the end of its
schedule, which is as long as a measurement says that the time allows.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from espalier.actions import finetune, frozen
from espalier.actions.chosen import WHOLE, Candidate, Choice, Trained
from espalier.actions.recipe import Recipe
from espalier.actions.scoring import Scored, words
from espalier.data.index import Index
from espalier.runs.run import Run
from espalier.spec.resolve import Decision
from espalier.trainer.loop import TrainResult

if TYPE_CHECKING:
    from espalier.layers.model import TrainableModel

RESAMPLES = 1000
SCORING_SHARE = 0.1  # of the seconds, kept for scoring the pictures held out
OVERRUN = 1.1  # times the planned seconds, after which training ends where it is


def train(recipe: Recipe, learn: Index, held_out: Index, where: str, run: Run, *, seconds: float) -> Trained:
    """The trained model and its scores; `seconds` is what may be spent, `where` says where `held_out` is from."""
    begin = time.perf_counter()
    model = recipe.build()
    recipe = _planned(recipe, model, learn, run, seconds=seconds)
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
    run.say(f"{WHOLE}: {result.epochs} epochs in {result.seconds:.0f} s")
    scored = _scored(recipe, model, held_out)
    if scored.scores.suggested:
        recipe = recipe.suited(scored.scores, where, run)
        scored = _scored(recipe, model, held_out)
    run.say(f"{words(scored.scores.figures[scored.scores.main])}, on {where}")
    kept = Candidate(WHOLE, scored, time.perf_counter() - begin)
    reason = f"{recipe.card.name} has no head to fit on frozen features" + _cut_short(result)
    return Trained(model, recipe, Choice(kept, reason, (kept,)), where, False, result.epochs)


def _planned(recipe: Recipe, model: TrainableModel, learn: Index, run: Run, *, seconds: float) -> Recipe:
    """The recipe with as many epochs as fit, at most those that it has; the clock ends it where the plan was wrong."""
    pace = finetune.measure(recipe, model, learn)
    budget = (1 - SCORING_SHARE) * seconds
    wanted = recipe.spec.train.epochs
    assert isinstance(wanted, int)
    fitting = int(budget / max(finetune.HEADROOM * pace * len(learn), 1e-9))
    epochs = min(max(fitting, 1), wanted)
    if epochs < wanted:
        reason = f"{budget:.0f} s are left, and a picture takes {1000 * pace:.0f} ms"
        run.decisions([Decision("train.epochs", wanted, epochs, reason)])
    return recipe.with_train(epochs=epochs, minutes=OVERRUN * budget / 60)


def _scored(recipe: Recipe, model: TrainableModel, held_out: Index) -> Scored:
    said = finetune.predictions(recipe, model, held_out)
    return frozen.score_all(recipe, said, frozen.truths_of(recipe, held_out), bootstrap=RESAMPLES)


def _cut_short(result: TrainResult) -> str:
    return "; the time was up before the end of its schedule" if result.stopped == "minutes" else ""
