"""A network's card: everything the house may ask about a network without importing PyTorch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from espalier.spec.sections import NetworkSpec

if TYPE_CHECKING:
    from espalier.vision.prepare import Prepare


@dataclass(frozen=True)
class DecodeRule:
    """Which decoder turns this network's outputs into predictions, and with which parameters."""

    name: str
    version: int = 1
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """The card. Values of the form 'module:attribute' are imported when they are first needed."""

    name: str
    task: str
    spec: type[NetworkSpec]
    build: str                                             # "module:fn", fn(spec, classes) -> TrainableModel
    prepare: Callable[[NetworkSpec], Prepare]              # of a resolved spec; no torch
    decode: Callable[[NetworkSpec], DecodeRule]
    presets: Mapping[str, Mapping[str, Any]]               # name → nested spec values (network, train, …)
    summary: str
    source: str                                            # the paper
    licence: str
    dynamic_size: bool = False                             # may height and width stay free in an exported graph?
    match_outputs: str | None = None                       # "module:fn", how parity pairs rows; None compares elementwise
    probe: str | None = None                               # "module:fn", head on frozen features; None cannot
    prune: str | None = None
    distill: str | None = None
    fit_preset: str | None = None                          # the preset that `fit` takes; None: fit never chooses it


def load(path: str) -> Any:
    """The object that 'module:attribute' names."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def build(card: Network, spec: NetworkSpec, classes: Sequence[str]) -> Any:
    """A fresh TrainableModel of this network."""
    return load(card.build)(spec, classes)
