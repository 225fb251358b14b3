"""`evaluate`: how good a model is on labelled pictures, with intervals; a checkpoint and a bundle by the same code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espalier.actions import corruptions, labelled
from espalier.actions.models import OpenModel, open_model
from espalier.actions.scoring import Scored, figure_names, figures_json, galleries, score, words
from espalier.blocks import Figure, Table
from espalier.data.samples import Samples
from espalier.errors import ModelError, Problem, UsageError
from espalier.runs.run import Run
from espalier.spec.fields import GraphBackend
from espalier.spec.sections import Spec
from espalier.spec.verbs import EvaluateSpec
from espalier.tasks.base import Scores


@dataclass(frozen=True)
class Evaluated:
    """A model and what it scored."""

    model: OpenModel
    scored: Scored

    @property
    def images_per_s(self) -> float:
        """Reading, preparing, running and decoding together."""
        return self.scored.scores.n / max(self.scored.seconds, 1e-9)


def evaluate(spec: Spec, run: Run) -> dict[str, Any]:
    """The figures of the model; of a run that has both, of its checkpoint and of its bundle.

    Raises ModelError, LicenceError, and DataError for pictures that can't be scored.
    """
    asked = spec.evaluate
    if asked.model is None:
        raise UsageError(Problem("evaluate.model", "no model was named", fix="espalier evaluate MODEL [PICTURES]"))
    wanted = corruptions.wanted(asked.corruptions, run)
    models = opened(asked.model, device=asked.device, backend=asked.backend, licences=spec.licences)
    pictures = labelled.for_scoring(asked.data, models[0])
    run.say(f"scoring on {pictures.words}: {len(pictures.index)} pictures")
    labelled.warn_of_seen(models[0], "the model", pictures, run)
    run.note(data={"evaluated": pictures.words, "fingerprint": pictures.index.fingerprint()})
    samples = pictures.samples(models[0], max_pixels=spec.data.max_pixels)
    found = evaluated(models, samples, asked, run, seed=spec.seed)
    if wanted is not None:  # what stands in the way of it is said before anything is shown
        wanted.check(found[-1].scored.scores, samples, asked, seed=spec.seed)
    result = show(run, samples, found, pictures=asked.pictures)
    if wanted is not None:
        result["corruptions"] = corruptions.measured(
            found[-1].model, found[-1].scored, samples, wanted, asked, run, seed=spec.seed
        )
    return result


def opened(path: str, *, device: str, backend: GraphBackend, licences: str) -> list[OpenModel]:
    """The model at `path`; with `auto`, a run's checkpoint and then its bundle where it has both."""
    first = open_model(path, device=device, backend=backend, licences=licences)
    if backend != "auto" or first.kind == "bundle" or not (Path(path) / "run.json").is_file():
        return [first]
    try:
        return [first, open_model(path, device=device, backend="onnxruntime", licences=licences)]
    except ModelError as error:
        if (Path(path) / "bundle" / "bundle.json").is_file():
            raise  # there is one, and it is damaged
        del error
        return [first]


def evaluated(
    models: Sequence[OpenModel], samples: Samples, asked: EvaluateSpec, run: Run, *, seed: int
) -> list[Evaluated]:
    """Each model scored on the same pictures; says each one's headline."""
    found = []
    for model in models:
        scored = score(model.predictor(batch_size=asked.batch_size), samples, bootstrap=asked.bootstrap, seed=seed)
        found.append(Evaluated(model, scored))
        said = spoken(scored.scores)
        for figure in said:
            run.say(f"{model.kind}: {words(figure)}")
        more = len(scored.scores.figures) - len(said)
        if more:
            run.say(f"{model.kind}: {more} more figures are in the result (--json) and on the report's page")
    for caution in found[-1].scored.scores.cautions:  # of the pictures, so that every model has them
        run.warn(caution)
    return found


def spoken(scores: Scores) -> list[Figure]:
    """The figures worth a line: the headline first, then those that the task chose, or all."""
    rest = [key for key in scores.spoken or scores.figures if key in scores.figures and key != scores.main]
    return [scores.figures[key] for key in (scores.main, *rest)]


def show(run: Run, samples: Samples, found: Sequence[Evaluated], *, pictures: int) -> dict[str, Any]:
    """The blocks of the last model (what is deployed), the models beside each other, mistakes, and the result."""
    last = found[-1]
    for block in last.scored.scores.blocks:
        run.block("result", block)
    if len(found) > 1:
        run.block("result", _beside(found))
    for gallery in galleries(run, samples, last.scored, count=pictures):
        run.block("mistakes", gallery)
    run.block("speed", speed_table(found))
    models = [
        {"kind": one.model.kind, "path": str(one.model.path), **figures_json(one.scored.scores),
         "images_per_s": round(one.images_per_s, 2)}
        for one in found
    ]  # fmt: skip
    return {"task": last.model.task.name, "models": models, **figures_json(last.scored.scores)}


def _beside(found: Sequence[Evaluated]) -> Table:
    """Checkpoint and bundle, figure by figure: the only difference between them is the graph."""
    rows: list[list[str | Figure | None]] = [
        [name, *(one.scored.scores.figures.get(key) for one in found)]
        for key, name in figure_names([one.scored.scores for one in found]).items()
    ]
    return Table("Evaluated and deployed", ["figure", *(one.model.kind for one in found)], rows)


def speed_table(found: Sequence[Evaluated]) -> Table:
    """Pictures a second on this machine, everything included."""
    rows: list[list[str | float]] = [
        [one.model.kind, one.model.backend.name, one.model.backend.device, round(one.images_per_s, 1)] for one in found
    ]
    return Table(
        "Speed while scoring", ["model", "backend", "device", "pictures/s"], rows, "reading and decoding included"
    )
