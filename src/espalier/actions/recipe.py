"""What is trained: a card, its resolved spec, its start weights and the classes; from labels alone or from a spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from espalier.actions.model_info import ModelInfo
from espalier.actions.models import lookup
from espalier.backbones import start
from espalier.backbones.start import Start
from espalier.backbones.weights import find
from espalier.bundle.manifest import Licence
from espalier.data.index import UNKNOWN, Index
from espalier.data.samples import Samples
from espalier.errors import DataError, Problem, SpecError
from espalier.networks import card as cards
from espalier.networks import registry
from espalier.networks.card import Network
from espalier.runs.run import Run
from espalier.runtime.backend import Backend
from espalier.runtime.predictor import Predictor
from espalier.spec.facts import Facts, Hardware
from espalier.spec.load import updated, with_network
from espalier.spec.resolve import Decision, resolve
from espalier.spec.sections import Spec
from espalier.tasks import base as tasks
from espalier.tasks.base import Decoder, Task
from espalier.vision.image import probe as probe_picture
from espalier.vision.prepare import Prepare

if TYPE_CHECKING:
    from espalier.layers.model import TrainableModel

LARGEST_ON_CPU_MB = 60  # of start weights that `fit` takes by itself where there is no accelerator
LOOKED_AT = 32  # pictures whose size, depth and bands are looked at


@dataclass(frozen=True)
class Recipe:
    """Everything that is needed to build the network, to ask it, and to describe it in a checkpoint."""

    card: Network
    spec: Spec
    start: Start
    task: Task
    classes: tuple[str, ...]
    prepare: Prepare
    decoder: Decoder
    params: Mapping[str, Any]

    def build(self) -> TrainableModel:
        """A model with the start weights; what has none is drawn by the spec's seed."""
        import torch

        assert self.spec.network is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.spec.seed)
            model: TrainableModel = cards.build(self.card, self.spec.network, self.classes)
        self.start.load(model)
        return model

    def samples(self, index: Index) -> Samples:
        """The pictures as the network reads them."""
        return Samples(index, self.task, self.prepare.inputs[0].channels, self.spec.data.max_pixels)

    def predictor(self, backend: Backend, *, batch_size: int = 16) -> Predictor:
        """prepare → backend → decode."""
        return Predictor(self.prepare, backend, self.decoder, self.classes, self.params, batch_size=batch_size)

    @property
    def licences(self) -> tuple[Licence, ...]:
        """Of the start weights."""
        return licences_of(self.start)

    def info(self, index: Index, run: Run, *, trained_on_all: bool = False) -> ModelInfo:
        """What a checkpoint says of the model beside its weights."""
        info = ModelInfo.of(
            self.card,
            self.spec,
            self.classes,
            licences=self.licences,
            data_fingerprint=index.fingerprint(),
            run=run.path.name,
        )
        return info.model_copy(update={"trained_on_all": trained_on_all})

    def with_train(self, **values: Any) -> Recipe:
        """The recipe with other values in the spec's `train` section."""
        return replace(self, spec=updated(self.spec, {"train": values}, lookup=lookup))


def licences_of(start: Start) -> tuple[Licence, ...]:
    """As a checkpoint records them."""
    found = start.licence
    if found is None:
        return ()
    return (Licence(**{key: found[key] for key in ("name", "licence", "url", "commercial")}),)


def task_for(asked: str, index: Index, run: Run) -> Task:
    """The task that was asked for, or of those that `fit` has a recipe for the one that the labels suit best.

    Where another would suit them better, it is said. Raises DataError when they suit none.
    """
    if asked != "auto":
        return tasks.get(asked)
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
    return [card for card in registry.for_task(task) if card.fit_preset is not None]


def choose_network(spec: Spec, task: Task, run: Run) -> Spec:
    """The spec with a network: the user's, or the task's card for `fit` with the best start weights at hand."""
    if spec.network is None or not spec.network.name:
        fitting = _recipes(task.name)
        if not fitting:
            raise SpecError(Problem("network.name", f"fit has no recipe for {task.name} yet", fix="name a network"))
        wishes_backbone = spec.network is not None and "name" in spec.network.backbone.model_fields_set
        card = fitting[0]
        spec = with_network(spec, card.name, preset=card.fit_preset, lookup=lookup)
        run.decisions([Decision("network.name", "auto", card.name, f"the recipe for {task.name}")])
        return spec if wishes_backbone else _with_best_weights(spec, task, run)
    return spec


def _with_best_weights(spec: Spec, task: Task, run: Run) -> Spec:
    """The best rung of the weight ladder, which also names the encoder."""
    from espalier.trainer.devices import best_device

    assert spec.network is not None
    if spec.network.backbone.weights not in ("auto", "imagenet"):
        return spec
    device = best_device() if spec.train.device == "auto" else spec.train.device
    file, decision = find.best(
        task.name,
        download=spec.network.backbone.download,
        licences=spec.licences,
        max_size_mb=LARGEST_ON_CPU_MB if device == "cpu" else None,
        say=run.say,
    )
    if file is None:
        run.warn(decision.reason)
        return spec
    run.decisions([decision])
    run.say(f"encoder: {decision.chosen}, {decision.reason}")
    backbone = {"name": file.record.backbone, "weights": file.record.name}
    return updated(spec, {"network": {"backbone": backbone}}, lookup=lookup)


def make(spec: Spec, task: Task, train: Index, *, n_val: int, run: Run) -> Recipe:
    """The recipe of a spec with a network for these training pictures; every decision is told and kept."""
    from espalier.trainer.devices import hardware

    assert spec.network is not None
    card = registry.get(spec.network.name)
    begin = start.choose(spec.network.backbone, task=task.name, licences=spec.licences, say=run.say)
    spec, decisions = resolve(spec, facts_of(train, begin, hardware(), n_val=n_val))
    run.decisions([*begin.decisions, *decisions])
    if begin.licence is not None:
        run.emit("licence", **{key: begin.licence[key] for key in ("name", "licence", "url", "commercial")})
    assert spec.network is not None
    rule = card.decode(spec.network)
    return Recipe(
        card,
        spec,
        begin,
        task,
        train.classes,
        card.prepare(spec.network),
        task.decoder(rule.name, rule.version),
        rule.params,
    )


def facts_of(train: Index, begin: Start, machine: Hardware, *, n_val: int) -> Facts:
    """What `resolve` is told."""
    looked = [probe_picture(train.path(int(row))) for row in _spread(len(train))]
    sizes = train.size_hw[train.size_hw[:, 0] != UNKNOWN] if len(train) else train.size_hw
    median = np.median(sizes if len(sizes) else [info.size_hw for info in looked], axis=0)
    return Facts(
        hardware=machine,
        n_train=len(train),
        n_val=n_val,
        classes=train.classes,
        class_counts=tuple(int(count) for count in train.picture_counts()),
        median_size_hw=(int(median[0]), int(median[1])),
        bands=_most_common([info.bands for info in looked]),
        bits=_most_common([info.bits for info in looked]),
        data_format=train.format,
        backbone=begin.facts,
        pretrained=begin.file is not None,
        multi_label=train.multi_label,
    )


def _spread(count: int) -> Sequence[int]:
    return [int(row) for row in np.unique(np.linspace(0, max(count - 1, 0), min(LOOKED_AT, count)).round())]


def _most_common(values: Sequence[int]) -> int:
    found, counts = np.unique(np.asarray(values), return_counts=True)
    return int(found[counts.argmax()])
