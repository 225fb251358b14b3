"""`train`: a network by its spec; index → split → resolve → build → load → loop → checkpoint → result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from espalier.actions import pictures, recipe
from espalier.actions.begin import Begun, begin
from espalier.actions.finetune import loader_of
from espalier.actions.kept_classes import with_kept_classes
from espalier.actions.models import keep_decode, read_info
from espalier.actions.pictures import Pictures
from espalier.actions.recipe import Recipe
from espalier.actions.scoring import Scored, figures_json, galleries, noted, score, words
from espalier.actions.start_from import inheriting
from espalier.data.samples import Samples
from espalier.errors import DataError, Problem, SpecError
from espalier.layers.module_backend import ModuleBackend
from espalier.networks import registry
from espalier.runs.run import Run
from espalier.spec.dump import to_yaml
from espalier.spec.resolve import Decision
from espalier.spec.sections import Spec
from espalier.tasks import base as tasks
from espalier.tasks.base import Scores
from espalier.trainer.checkpoint import exists, load_checkpoint
from espalier.trainer.devices import rank_and_world
from espalier.trainer.loop import Loop, TrainResult

if TYPE_CHECKING:
    from espalier.layers.model import TrainableModel

CHOSEN_ON = "the best epoch was chosen on these pictures, which flatters it a little: a test set does not"
REHEARSED = 8  # validation pictures that are scored before training, so that a mistake shows before an epoch is spent


def train(spec: Spec, run: Run) -> dict[str, Any]:
    """Trains the spec's network and scores the best checkpoint on the validation set.

    A run that was interrupted goes on from its last checkpoint. Raises SpecError, DataError, ModelError, and what
    `Loop.fit` raises.
    """
    resume = _resumes(run)
    spec = with_kept_classes(spec, run, pictures=spec.data.train)
    begun = _begun(spec, run)
    data = pictures.index(spec, begun.task, run, look=spec.data.check and not resume)
    _tell_data(data, run, resume=resume)
    plan = recipe.make(begun, data.train, n_val=len(data.val), run=run)
    model = plan.build()
    plan = _resumed(plan, run) if resume else inheriting(plan, model, run)
    validation = Validation(plan, plan.samples(data.val))
    rehearsed = validation.rehearse(model)
    plan = _with_monitor(plan, rehearsed, run)
    run.write_spec(to_yaml(plan.spec))
    rises = rehearsed.rises(plan.spec.train.monitor)
    result = _loop(plan, model, data, validation, run, rises=rises, resume=resume)
    return _finish(plan, model, result, validation, run)


def _resumed(plan: Recipe, run: Run) -> Recipe:
    """With what it inherited: a run that goes on has the weights in its checkpoint already, and there the licences."""
    if plan.spec.train.start_from is None:
        return plan
    return replace(plan, inherited=read_info(run.path / "checkpoints" / "last").licences)


@dataclass(frozen=True)
class Validation:
    """Scores a model by the path that is deployed: prepare → module → decode."""

    plan: Recipe
    samples: Samples

    def __call__(self, model: TrainableModel) -> dict[str, float]:
        """The figures without intervals."""
        return {key: figure.value for key, figure in self.score(model).scores.figures.items()}

    def score(self, model: TrainableModel, *, bootstrap: int = 0) -> Scored:
        """Predictions and figures of all validation pictures."""
        return self._scored(model, self.samples, bootstrap)

    def rehearse(self, model: TrainableModel) -> Scores:
        """The scores of a few pictures: which figures there are, and that all of it works."""
        return self._scored(model, self.samples.spread(REHEARSED), 0).scores

    def _scored(self, model: TrainableModel, samples: Samples, bootstrap: int) -> Scored:
        predictor = self.plan.predictor(ModuleBackend(model, next(model.parameters()).device))
        return score(predictor, samples, bootstrap=bootstrap, seed=self.plan.spec.seed)


def _resumes(run: Run) -> bool:
    """Does the run go on from a checkpoint? One that was interrupted before its first begins again."""
    if not run.record.resumed:
        return False
    if exists(run.path / "checkpoints" / "last"):
        return True
    run.cut_events(0)
    run.say("the run was interrupted before its first checkpoint, so it begins again")
    return False


def _tell_data(data: Pictures, run: Run, *, resume: bool) -> None:
    """Says and records what is trained on. Raises DataError when a run that goes on finds other data than before."""
    before = run.record.data.get("fingerprint")
    if resume and before is not None and before != data.fingerprint:
        raise DataError(
            Problem(
                "data",
                "the pictures or labels are not those that this run began with",
                "a run that is resumed ends as if it had never stopped",
                "put the old data back, or begin a new run with train.start_from",
            )
        )
    counts = dict(zip(data.train.classes, data.train.picture_counts().tolist(), strict=True))
    facts = {"train": len(data.train), "val": len(data.val), "validation": data.words, "classes": counts}
    run.note(data={**facts, "fingerprint": data.fingerprint})
    run.emit("data", **facts)
    pictures.warn_of_unseen(data.train, data.val, run)
    run.say(f"{len(data.train)} pictures to learn from, {len(data.val)} to validate on ({data.words})")


def _begun(spec: Spec, run: Run) -> Begun:
    assert spec.network is not None
    return begin(spec, tasks.get(registry.get(spec.network.name).task_of(spec.network)), run)


def _with_monitor(plan: Recipe, scores: Scores, run: Run) -> Recipe:
    """The recipe with the figure that decides which checkpoint is best. Raises SpecError for one that there isn't."""
    asked = plan.spec.train.monitor
    if asked == "auto":
        run.decisions([Decision("train.monitor", "auto", scores.main, "the task's headline figure")])
        return plan.with_train(monitor=scores.main)
    if asked not in scores.figures:
        raise SpecError(
            Problem("train.monitor", f"validation gives no '{asked}'", f"it gives: {', '.join(scores.figures)}")
        )
    return plan


def _loop(
    plan: Recipe,
    model: TrainableModel,
    data: Pictures,
    validation: Validation,
    run: Run,
    *,
    rises: bool,
    resume: bool,
) -> TrainResult:
    with loader_of(plan, data.train) as loader:
        loop = Loop(
            model,
            plan.spec.train,
            loader,
            validate=validation,
            monitor=plan.spec.train.monitor,
            higher_is_better=rises,
            checkpoints=run.folder("checkpoints"),
            record=run,
            seed=plan.spec.seed,
            meta=plan.info(data.train, run).to_json(),
        )
        return loop.fit(resume=resume)


def _finish(
    plan: Recipe, model: TrainableModel, result: TrainResult, validation: Validation, run: Run
) -> dict[str, Any]:
    """The best checkpoint scored with intervals, shown, and summed up."""
    summary = {
        "checkpoint": "checkpoints/best",
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "steps": result.steps,
        "stopped": result.stopped,
        "seconds": round(result.seconds, 1),
        "images_per_s": round(result.images_per_s, 1),
        "data_wait": round(result.data_wait, 4),
    }
    if rank_and_world()[0] != 0:
        return summary
    load_checkpoint(result.best_path).load_into(model)
    scored = validation.score(model, bootstrap=plan.spec.evaluate.bootstrap)
    if scored.scores.suggested:
        plan = plan.suited(scored.scores, f"the {len(validation.samples)} pictures that chose the epoch", run)
        scored = replace(validation, plan=plan).score(model, bootstrap=plan.spec.evaluate.bootstrap)
        keep_decode(result.best_path, plan.decode, scored.scores)
    for block in scored.scores.blocks:
        run.block("result", noted(block, CHOSEN_ON) if result.epochs > 1 else block)
    for gallery in galleries(run, validation.samples, scored, count=plan.spec.evaluate.pictures):
        run.block("mistakes", gallery)
    run.say(f"best after epoch {result.best_epoch}: {words(scored.scores.figures[scored.scores.main])}")
    return {**summary, "task": plan.task.name, **figures_json(scored.scores)}
