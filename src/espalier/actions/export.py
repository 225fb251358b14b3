"""`export`: a checkpoint as a bundle, gated on saying the same as what was evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from espalier.actions import labelled
from espalier.actions.model_info import ModelInfo
from espalier.actions.models import CheckpointModel, open_model
from espalier.blocks import Table
from espalier.bundle.bundle import write_zip
from espalier.bundle.manifest import Provenance
from espalier.bundle.provenance import portable
from espalier.errors import InputError, ModelError, Problem, UsageError
from espalier.exporter.make import Made, Pictures, Subject, make_bundle
from espalier.runs import record
from espalier.runs.run import Run
from espalier.spec.sections import Spec
from espalier.spec.verbs import ExportSpec


def export(spec: Spec, run: Run) -> dict[str, Any]:
    """The bundle's folder and how it was proven. Raises ParityError, and then there is no bundle."""
    asked = spec.export
    if asked.model is None:
        raise UsageError(Problem("export.model", "no model was named", fix="espalier export MODEL"))
    model = open_model(asked.model, device="cpu", backend="torch", licences=spec.licences)
    if not isinstance(model, CheckpointModel):
        raise ModelError(Problem(str(model.path), "is not a checkpoint, so there is nothing to export"))
    run.note(parent=model.info.run or None)
    pictures = proof_pictures(model, asked, run, max_pixels=spec.data.max_pixels)
    return export_model(model, pictures, asked, run, seed=spec.seed)


def export_model(
    model: CheckpointModel, pictures: Pictures, options: ExportSpec, run: Run, *, seed: int
) -> dict[str, Any]:
    """Writes `bundle/` (and `bundle.zip`) into the run, says how it was proven, and gives the result.

    `pictures` are labelled ones that parity and the metric are proven on, beside the golden inputs; they may be none.
    """
    folder = run.path / "bundle"
    made = make_bundle(subject(model), pictures, options, folder, seed=seed, say=run.say)
    if options.zip:
        write_zip(folder, run.path / "bundle.zip")
    _show(run, made)
    return _result(run, made, zipped=options.zip)


def subject(model: CheckpointModel) -> Subject:
    """What is exported of an open checkpoint."""
    return Subject(
        name=model.name,
        card=model.card,
        model=model.module(),
        task=model.task,
        classes=model.classes,
        prepare=model.prepare,
        decode=model.info.decode,
        tiles=model.tiles,
        licences=tuple(model.licences),
        provenance=provenance(model.info),
    )


def provenance(info: ModelInfo) -> Provenance:
    """Where a model comes from, as it may travel: no dates, no paths."""
    return Provenance(
        versions=record.versions(),
        network=info.network,
        spec=portable(info.spec),
        data_fingerprint=info.data_fingerprint,
        parent_run=info.run,
        figures=dict(info.figures),
    )


def proof_pictures(model: CheckpointModel, options: ExportSpec, run: Run, *, max_pixels: int) -> Pictures:
    """Labelled pictures to prove parity on: those asked for, else those it is scored on, else those it learnt from.

    None are no error, as the golden inputs remain; a warning says so. (Parity needs no unseen pictures.)
    """
    if options.parity_images == 0:
        return []
    try:
        found = labelled.for_scoring(options.data or _learnt_from(model), model, split_name="export.data")
    except InputError as error:
        if options.data is not None:
            raise
        run.warn(f"parity is proven on golden inputs alone, and no metric is compared: {error.problems[0].what}")
        return []
    run.say(f"parity is proven on {found.words}")
    return found.samples(model, max_pixels=max_pixels).spread(options.parity_images)


def _learnt_from(model: CheckpointModel) -> str | None:
    """The training set, where all of it was learnt from and no other pictures were kept apart."""
    data = None if model.spec is None else model.spec.data
    if data is None or model.holds_out or data.val or data.test:
        return None
    return data.train


def _show(run: Run, made: Made) -> None:
    rows: list[list[str | float]] = [
        ["largest error of a raw output", made.parity.worst, "max|a-b| / max(1e-3, max|a|)"]
    ]
    if made.metric is not None:
        change = abs(made.metric.value - made.metric.reference)
        rows.append([f"change of {made.metric.name}", change, f"on {made.metric.pictures} pictures"])
    for runtime in made.manifest.artifacts[0].runtimes:
        said = "" if runtime.error is None else runtime.error
        rows.append([f"largest error in {runtime.backend} {runtime.version}".rstrip(), said, runtime.note])
    run.block("proof", Table("The bundle says what was evaluated", ["", "", ""], rows))
    run.block("proof", made.parity.block())
    run.block("proof", made.verified.block())
    if made.parity.unsteady:
        run.warn(f"{made.parity.edge_words}; they prove nothing and are left out; a longer training makes them fewer")
    for licence in made.manifest.licences:
        run.emit("licence", **licence.model_dump())
    folder = run.path / "bundle"
    run.say(f"bundle: {folder} (largest error {made.parity.worst:.2g}, {_metric_words(made)})")


def _metric_words(made: Made) -> str:
    if made.metric is None:
        return "no metric compared"
    return f"{made.metric.name} {made.metric.reference:.4f} → {made.metric.value:.4f}"


def _result(run: Run, made: Made, *, zipped: bool) -> dict[str, Any]:
    artifact = made.manifest.artifacts[0]
    files: Sequence[Any] = made.manifest.all_files()
    return {
        "bundle": "bundle",
        "zip": "bundle.zip" if zipped else None,
        "size_mb": round(sum(f.size for f in files) / 1e6, 3),
        "parity": None if artifact.parity is None else artifact.parity.model_dump(mode="json"),
        "metric": None if artifact.metric is None else artifact.metric.model_dump(mode="json"),
        "runtimes": [runtime.model_dump(mode="json") for runtime in artifact.runtimes],
    }
