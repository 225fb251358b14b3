"""What a run begins with, before a picture is read: the task, the network by its card, and its start weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

from espalier import backbones
from espalier.actions.models import lookup
from espalier.backbones import start
from espalier.backbones.start import Start
from espalier.backbones.weights import find
from espalier.data.index import Index
from espalier.errors import DataError, Problem, SpecError
from espalier.networks import registry
from espalier.networks.card import Network
from espalier.runs.run import Run
from espalier.spec.load import updated, with_network
from espalier.spec.resolve import Decision
from espalier.spec.sections import NetworkSpec, Spec
from espalier.tasks import base as tasks
from espalier.tasks.base import Task

LARGEST_ON_CPU_MB = 60  # of start weights that `fit` takes by itself where there is no accelerator


@dataclass(frozen=True)
class Begun:
    """A network by its card and the weights that it starts from."""

    spec: Spec
    task: Task
    card: Network
    start: Start


def task_for(spec: Spec, index: Index, run: Run) -> Task:
    """The task that was asked for, else the named network's, else the one of `fit`'s that the labels suit best.

    Where another would suit them better, it is said. Raises DataError when they suit none.
    """
    if spec.fit.task != "auto":
        return tasks.get(spec.fit.task)
    if spec.network is not None and spec.network.name:
        return tasks.get(registry.get(spec.network.name).task_of(spec.network))
    suited = tasks.ranked(index.kinds)
    if not suited:
        kinds = ", ".join(sorted(index.kinds)) or "none"
        raise DataError(Problem(index.source, f"no task suits these labels (kinds: {kinds})", fix="set fit.task"))
    name = next((name for name in suited if _recipes(name)), suited[0])
    if name != suited[0]:
        kinds = ", ".join(sorted(index.kinds))
        run.warn(f"labels of this kind ({kinds}) suit {suited[0]}, which fit has no recipe for yet: it does {name}")
    return tasks.get(name)


def _recipes(task: str) -> list[Network]:
    """The networks that `fit` may choose for a task."""
    return [card for card in registry.for_task(task) if card.fit_presets_for(task)]


def begin(spec: Spec, task: Task, run: Run) -> Begun:
    """The spec's network, else the task's card for `fit`, and its start weights; told and kept.

    The first line says so where no weights know the task. Raises SpecError, LicenceError, ModelError.
    """
    spec, chosen = _choose_network(spec, task, run)
    assert spec.network is not None
    card = registry.get(spec.network.name)
    _check_task(card, spec.network, task)
    found = start.choose(spec.network.backbone, task=task.name, licences=spec.licences, say=run.say)
    if not card.encoder_suffices and spec.train.start_from is None:
        run.say(_untrained(card, task, spec, found))
    run.decisions([*chosen, *found.decisions])
    if found.licence is not None:
        run.emit("licence", **{key: found.licence[key] for key in ("name", "licence", "url", "commercial")})
    return Begun(spec, task, card, found)


def _check_task(card: Network, network: NetworkSpec, task: Task) -> None:
    """Raises SpecError for a network that does another task than the one that was asked for."""
    does = card.task_of(network)
    if does == task.name:
        return
    values = " ".join(f"network.{knob}={str(other == task.name).lower()}" for knob, other in card.switches.items())
    fix = f"take {values}" if task.name in card.tasks else "name another network, or leave fit.task out"
    raise SpecError(Problem("fit.task", f"is {task.name}, and this {card.name} does {does}", fix=fix))


def _untrained(card: Network, task: Task, spec: Spec, found: Start) -> str:
    """The line for a network whose weights must learn the task from these pictures alone."""
    encoder = "random weights" if found.file is None else f"{found.file.record.name}, trained to classify,"
    return (
        f"{card.name}: no weights trained for {task.name} are at hand (licences: {spec.licences}); "
        f"the encoder starts from {encoder} and all else from random ones"
    )


def _choose_network(spec: Spec, task: Task, run: Run) -> tuple[Spec, list[Decision]]:
    if spec.network is not None and spec.network.name:
        return spec, []
    fitting = _recipes(task.name)
    if not fitting:
        raise SpecError(Problem("network.name", f"fit has no recipe for {task.name} yet", fix="name a network"))
    card, device = fitting[0], _device(spec)
    wishes_backbone = spec.network is not None and "name" in spec.network.backbone.model_fields_set
    preset = card.fit_preset(task.name, device, spec.fit.minutes)
    spec = with_network(spec, card.name, preset=preset, lookup=lookup)
    decisions = [Decision("network.name", "auto", card.name, f"the recipe for {task.name}")]
    if len(card.fit_presets_for(task.name)) > 1:
        reason = f"{spec.fit.minutes:g} minutes on {device}"
        decisions.append(Decision("network.preset", "auto", preset, reason))
    if wishes_backbone:
        return spec, decisions
    spec, more = _with_best_weights(spec, task, card, device, run)
    return spec, [*decisions, *more]


def _device(spec: Spec) -> str:
    from espalier.trainer.devices import best_device

    return best_device() if spec.train.device == "auto" else spec.train.device


def _with_best_weights(
    spec: Spec, task: Task, card: Network, device: str, run: Run
) -> tuple[Spec, tuple[Decision, ...]]:
    """The best rung of the weight ladder, which also names the encoder."""
    assert spec.network is not None
    if spec.network.backbone.weights not in ("auto", "imagenet"):
        return spec, ()
    file, decision = find.best(
        task.name,
        download=spec.network.backbone.download,
        licences=spec.licences,
        max_size_mb=LARGEST_ON_CPU_MB if device == "cpu" else None,
        takes=_gives_maps if card.needs_maps else lambda encoder: True,
        say=run.say,
    )
    if file is None:
        return spec, (replace(decision, kind="warning"),)
    backbone = {"name": file.record.backbone, "weights": file.record.name}
    return updated(spec, {"network": {"backbone": backbone}}, lookup=lookup), (decision,)


def _gives_maps(encoder: str) -> bool:
    """Has it maps of several strides?"""
    return len(set(backbones.describe(encoder).strides)) > 1
