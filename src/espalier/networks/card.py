"""A network's card: everything the house may ask about a network without importing PyTorch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from espalier.spec.sections import NetworkSpec

if TYPE_CHECKING:
    from espalier.networks.presets import PresetFacts
    from espalier.networks.published_results import PublishedResult
    from espalier.vision.prepare import Prepare


@dataclass(frozen=True)
class DecodeRule:
    """Which decoder turns this network's outputs into predictions, and with which parameters."""

    name: str
    version: int = 1
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FitPreset:
    """A preset that `fit` may take: with an accelerator alone, and with that much time."""

    name: str
    accelerated: bool = False
    minutes: float = 0.0

    def suits(self, device: str, minutes: float) -> bool:
        """Does it train to some end on such a device in so much time?"""
        return minutes >= self.minutes and (device != "cpu" or not self.accelerated)


@dataclass(frozen=True)
class Network:
    """The card. Values of the form 'module:attribute' are imported when they are first needed."""

    name: str
    task: str  # of its plain spec
    spec: type[NetworkSpec]
    build: str  # "module:fn", fn(spec, classes) -> TrainableModel
    prepare: Callable[[NetworkSpec], Prepare]  # of a resolved spec; no torch
    decode: Callable[[NetworkSpec], DecodeRule]
    presets: Mapping[str, Mapping[str, Any]]  # name → nested spec values (network, train, …)
    facts: Callable[[str], PresetFacts]  # preset name → what the contract suite holds it to
    summary: str
    source: str  # the paper
    licence: str
    dynamic_size: bool = False  # may height and width stay free in an exported graph?
    match_outputs: str | None = None  # "module:fn", how parity pairs rows; None compares elementwise
    official: str | None = (
        None  # "module:object", a published_model.Reader: reads files of published models; None cannot
    )
    probe: str | None = None  # "module:class", a Probe: a head on frozen features; None cannot
    prune: str | None = None
    distill: str | None = None
    fit_presets: tuple[FitPreset, ...] = ()  # those that `fit` may take, the largest first; none: it never chooses it
    encoder_suffices: bool = False  # do an encoder's published weights know the task already?
    needs_maps: bool = False  # does it look at an encoder's maps of several strides?
    published: Mapping[str, PublishedResult] = field(default_factory=dict)  # name → what `reproduce` makes again
    switches: Mapping[str, str] = field(default_factory=dict)  # a yes-or-no knob → the task that a yes makes it do

    @property
    def tasks(self) -> tuple[str, ...]:
        """All that it can do, one task a spec; the plain spec's first."""
        return (self.task, *self.switches.values())

    def task_of(self, spec: NetworkSpec) -> str:
        """What a network of this spec does."""
        return next((task for knob, task in self.switches.items() if getattr(spec, knob)), self.task)

    def task_of_preset(self, name: str) -> str:
        """What a network of this preset does."""
        values = self.presets[name].get("network", {})
        return next((task for knob, task in self.switches.items() if values.get(knob)), self.task)

    def fit_presets_for(self, task: str) -> tuple[FitPreset, ...]:
        """Those that `fit` may take for a task, the largest first."""
        return tuple(preset for preset in self.fit_presets if self.task_of_preset(preset.name) == task)

    def fit_preset(self, task: str, device: str, minutes: float) -> str | None:
        """The preset that `fit` takes with so much time on such a device: the first that suits, else the last."""
        presets = self.fit_presets_for(task)
        suited = (preset.name for preset in presets if preset.suits(device, minutes))
        return next(suited, presets[-1].name if presets else None)


class Probe(Protocol):
    """A head fitted on features of the frozen network: features once a picture, then any number of quick fits.

    `card.probe` names a class that is made as `Probe(model, prepare, device=…)`. The features are those of `prepare`,
    without augmentation. A head that is written into the model leaves an ordinary TrainableModel.
    """

    def embed(
        self, samples: Sequence[Any], *, batch_size: int = 16, tick: Callable[[int], None] | None = None
    ) -> NDArray[Any]:
        """The features (N, F) of tasks.base.Samples, in their order; `tick` is told how many are done."""

    def fit(
        self,
        features_NF: NDArray[Any],
        targets: Mapping[str, NDArray[Any]],
        *,
        groups: Sequence[str] = (),
        seed: int = 0,
    ) -> Any:
        """A head for these features and the task's targets (N first); regularised as an inner cross-validation says."""

    def outputs(self, head: Any, features_NF: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The raw outputs that the model would give with this head, for the network's decoder."""

    def write(self, head: Any) -> None:
        """Makes the head the model's own."""


def load(path: str) -> Any:
    """The object that 'module:attribute' names."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def build(card: Network, spec: NetworkSpec, classes: Sequence[str]) -> Any:
    """A fresh TrainableModel of this network."""
    return load(card.build)(spec, classes)
