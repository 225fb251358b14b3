"""`reproduce`: a published model trained or evaluated as its authors did, and their figures beside ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from espalier import storage
from espalier.actions import labelled
from espalier.actions.evaluate import evaluated, show
from espalier.actions.import_model import import_model, published_file
from espalier.actions.models import OpenModel, is_model, lookup, open_model
from espalier.actions.reproduced import NOT_RUN, Reproduced, beside, settings
from espalier.data.layouts import LAYOUTS, Layout
from espalier.errors import ModelError, Problem, UsageError
from espalier.networks.card import Network
from espalier.networks.published_results import PublishedResult, find
from espalier.runs.run import Run
from espalier.spec.dump import to_yaml
from espalier.spec.load import load_spec
from espalier.spec.sections import Spec
from espalier.spec.verbs import ReproduceSpec

OF_PAPER = ("seed", "licences", "data", "train")
"""Sections of the user's spec that go over the published values; each difference is told."""

_NO_MATTER = frozenset(
    {"preset", "backbone.name", "backbone.weights", "backbone.download", "dropout", "freeze_batch_norm", "detections"}
)
"""Fields of a network in which a checkpoint of it may differ."""


@dataclass(frozen=True)
class Published:
    """What is reproduced."""

    name: str
    card: Network
    result: PublishedResult

    @property
    def layout(self) -> Layout:
        """How its data set looks."""
        return LAYOUTS[self.result.layout]


def reproduce(spec: Spec, run: Run) -> dict[str, Any]:
    """Their figures and ours, or why ours were not measured here; every setting of theirs is kept as the run's spec.

    Raises UsageError for an unknown name, DataError for a folder that is not the data set as published, ModelError for
    weights of another model.
    """
    asked = spec.reproduce
    if asked.name is None:
        raise UsageError(Problem("reproduce.name", "no result was named", fix="espalier reproduce NAME --coco DIR"))
    published = Published(asked.name, *find(asked.name))
    devices = _devices(spec)
    theirs = published_spec(published, asked.coco or "DATA", devices)
    ours, changed = _over(theirs, spec)
    changed += [] if asked.eval_only else _step_changed(published, ours, devices)
    training, scoring = settings(published.name, published.result, theirs, published.layout)
    run.block("settings", training)
    run.block("settings", scoring)
    for what, value in scoring.rows:
        run.say(f"{what}: {value}")
    for line in changed:
        run.warn(f"not as published: {line}")
    if asked.coco is not None:
        published.layout.check(asked.coco, ("val",) if asked.eval_only else ("train", "val"))
    run.write_spec(to_yaml(ours))
    why_not = _why_not(published, spec, ours)
    found = None if why_not else _measured(published, ours, spec, run)
    return _told(published, found, why_not, changed, run)


def published_spec(published: Published, folder: str, devices: int) -> Spec:
    """The spec of the published training, all of it."""
    return load_spec(published.result.values(published.card.name, folder, devices), lookup=lookup)


def _devices(spec: Spec) -> int:
    if isinstance(spec.train.devices, int):
        return spec.train.devices
    from espalier.trainer.devices import rank_and_world

    return rank_and_world()[1]


def _over(theirs: Spec, spec: Spec) -> tuple[Spec, list[str]]:
    """The published spec under what the user set, and a line for each published value that this changes."""
    set_by_user = spec.model_dump(mode="json", exclude_unset=True, serialize_as_any=True)
    wishes = {section: set_by_user[section] for section in OF_PAPER if section in set_by_user}
    stated = theirs.model_dump(mode="json", serialize_as_any=True)
    ours = load_spec(
        _merged(theirs.model_dump(mode="json", exclude_unset=True, serialize_as_any=True), wishes), lookup=lookup
    )
    free = {"train.devices", "train.device", "train.strategy", "train.workers", "train.tensorboard", "licences"}
    changed = [f"{name}: {_at(stated, name)} → {value}" for name, value in _leaves(wishes)
               if name not in free and _at(stated, name) != value]  # fmt: skip
    return ours, changed


def _step_changed(published: Published, ours: Spec, devices: int) -> list[str]:
    """A line where a step has another number of pictures: not every number of devices divides the published one."""
    train, wanted = ours.train, published.result.step_pictures
    if train.batch_size == "auto":
        return [f"pictures in a step: {wanted} → auto"]
    count = train.batch_size * train.accumulate * devices
    return [f"pictures in a step: {wanted} → {count}"] if count != wanted else []


def _why_not(published: Published, spec: Spec, ours: Spec) -> str:
    """Why nothing is run here; '' where it is."""
    asked = spec.reproduce
    if asked.coco is None:
        return f"no data: name a folder with {published.layout.title} by --coco DIR"
    if asked.eval_only and asked.weights is None:
        return (
            f"no weights: no program can fetch them; get {published.result.checkpoint}, and name it by --weights FILE"
        )
    if not asked.eval_only and spec.train.device == "auto" and not _accelerated():
        work = f"{ours.train.epochs} epochs of {published.layout.title}"
        return f"no accelerator for {work}; train.device=cpu begins all the same"
    return ""


def _accelerated() -> bool:
    from espalier.trainer.devices import best_device

    return best_device() != "cpu"


def _measured(published: Published, ours: Spec, spec: Spec, run: Run) -> Reproduced:
    """The scores of the official weights, or of a training, on the validation set as the authors took them."""
    asked = spec.reproduce
    assert asked.coco is not None
    model = _official(published, asked, ours, run) if asked.eval_only else _trained(ours, run)
    model.params = {**model.params, **published.result.decode}
    part = published.layout.parts["val"]  # its labels alone: those of the training part take minutes to read
    pictures = labelled.for_scoring(storage.join(asked.coco, part.labels), model)
    samples = pictures.samples(model, max_pixels=spec.data.max_pixels)
    whole = part.count
    if asked.pictures:
        samples = samples.spread(asked.pictures)
    if len(samples) != whole:
        run.warn(f"{len(samples)} pictures are scored where the published figures are of {whole:,}")
    found = evaluated([model], samples, spec.evaluate, run, seed=spec.seed)
    show(run, samples, found, pictures=spec.evaluate.pictures)
    return Reproduced(found[0].scored.scores, len(samples), whole)


def _official(published: Published, asked: ReproduceSpec, theirs: Spec, run: Run) -> OpenModel:
    """The model of the file or MODEL that was named. Raises ModelError where it is another than was published."""
    assert asked.weights is not None
    path = asked.weights
    if not is_model(path):
        whole = published_file(path)
        if whole is None:
            what = "is no published detector's file, and no model of ours"
            raise ModelError(Problem(path, what, f"expected {published.result.checkpoint}"))
        for line in import_model(whole, run.path / "official", name=published.name).lines[:-1]:
            run.say(line)
        path = str(run.path / "official")
    model = open_model(path, device=asked.device)
    _check_same(model, theirs, published)
    return model


def _check_same(model: OpenModel, theirs: Spec, published: Published) -> None:
    """Raises ModelError that names each setting in which the weights are of another network."""
    stated, own = (None if s is None or s.network is None else s.network for s in (theirs, model.spec))
    if stated is None or own is None:
        raise ModelError(Problem(str(model.path), "does not say which network it is", fix="give the authors' file"))
    said = own.model_dump(mode="json")
    wrong = [f"network.{name}: {_at(said, name)}, published: {value}"
             for name, value in _leaves(stated.model_dump(mode="json"))
             if name.partition(".")[0] not in ("denoising", "loss", "input") and name not in _NO_MATTER
             and _at(said, name) != value]  # fmt: skip
    if model.classes != published.result.classes:
        wrong.append(f"{len(model.classes)} classes, published: {len(published.result.classes)}")
    if wrong:
        raise ModelError(*(Problem(str(model.path), f"is not {published.name}: {line}") for line in wrong))


def _trained(ours: Spec, run: Run) -> OpenModel:
    """The model after its last epoch, which is what papers report."""
    from espalier.actions.train import train

    train(ours, run)
    return open_model(run.path / "checkpoints" / "last", device=str(ours.train.device))


def _told(published: Published, found: Reproduced | None, why_not: str, changed: list[str], run: Run) -> dict[str, Any]:
    table, lines = beside(published.name, published.result, found, why_not)
    run.block("result", table)
    for line in lines:
        run.say(line)
    rows = {key: value / 100 for key, value in published.result.figures.items()}
    ours = None if found is None else found.to_json(rows)
    return {"name": published.name, "published": dict(published.result.figures), "source": published.result.source,
            "ours": ours, "not_run": f"{NOT_RUN}: {why_not}" if why_not else None,
            "changed": changed or None}  # fmt: skip


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both, nested; what `above` says wins."""
    merged = dict(below)
    for key, value in above.items():
        inside = merged.get(key)
        merged[key] = _merged(inside, value) if isinstance(inside, Mapping) and isinstance(value, Mapping) else value
    return merged


def _leaves(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of everything that holds no more names."""
    for key, value in values.items():
        name = f"{path}.{key}".lstrip(".")
        if isinstance(value, Mapping):
            yield from _leaves(value, name)
        else:
            yield name, value


def _at(values: Any, name: str) -> Any:
    """The value of a dotted name; None where there is none."""
    for key in name.split("."):
        values = values.get(key) if isinstance(values, Mapping) else None
    return values
