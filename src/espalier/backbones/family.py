"""A family of encoders: what the house may ask of it. Importing this module imports no torch."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from espalier.backbones.converted import ConvertedTensors
from espalier.backbones.facts import BackboneFacts
from espalier.backbones.weights import records
from espalier.backbones.weights.records import WeightRecord
from espalier.errors import InputError, MissingExtraError, Problem

if TYPE_CHECKING:
    from torch import Tensor

    from espalier.backbones.backbone import Backbone

Out = Literal["embedding", "features", "pyramid", "dense"]


class Family(Protocol):
    """A family of encoders."""

    name: str

    def names(self) -> Sequence[str]:
        """The encoders, as `network.backbone.name` takes them."""

    def canonical(self, name: str) -> str | None:
        """The encoder's own name for what the user wrote (a tag stays on it), None when it is none of this family."""

    def facts(self, name: str) -> BackboneFacts:
        """The facts of an encoder by its canonical name."""

    def build(
        self, name: str, *, channels_in: int, out: Out, size_hw: tuple[int, int] | None, dilated: bool = False
    ) -> Backbone:
        """A fresh encoder. Raises InputError where the last stage can't be dilated and should be."""

    def convert(self, tensors: Mapping[str, Tensor], name: str) -> ConvertedTensors:
        """A published file's tensors under the names of the encoder `name` built for its embedding.

        Raises ModelError, with the first differences, when they are of another family or size.
        """

    def published(self, name: str) -> Sequence[WeightRecord]:
        """The publisher's own weights of an encoder, the ones to try first at the top."""


@dataclass(frozen=True)
class HouseFamily:
    """A family whose architecture the house wrote itself. `builder` and `official_name` are 'module:function'.

    builder(facts, *, channels_in, out, size_hw) -> Backbone; official_name(name) -> the published name of one of our
    tensors. `derived`: endings of published names whose tensors the encoder computes itself. `aliases`: other published
    names of an encoder. `translate`, where other codes published the same weights: theirs(tensors) -> the tensors under
    the official names, others as they are.
    """

    name: str
    encoders: Mapping[str, BackboneFacts]
    builder: str
    official_name: str
    summary: str
    source: str  # the paper
    licence: str  # of this code
    derived: tuple[str, ...] = ()
    translate: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> Sequence[str]:
        """The encoders."""
        return list(self.encoders)

    def canonical(self, name: str) -> str | None:
        """The name itself or what an alias stands for, when the family has it."""
        own = self.aliases.get(name, name)
        return own if own in self.encoders else None

    def facts(self, name: str) -> BackboneFacts:
        """The stated facts."""
        return self.encoders[name]

    def build(
        self, name: str, *, channels_in: int, out: Out, size_hw: tuple[int, int] | None, dilated: bool = False
    ) -> Backbone:
        """A fresh encoder. Raises InputError for a dilated one."""
        if dilated:
            raise InputError(not_dilated(name))
        built: Backbone = _load(self.builder, "building a backbone")(
            self.facts(name), channels_in=channels_in, out=out, size_hw=size_hw
        )
        return built

    def convert(self, tensors: Mapping[str, Tensor], name: str) -> ConvertedTensors:
        """Tensors under official or our own names."""
        converted: ConvertedTensors = _load("espalier.backbones.official:convert", "converting weights")(
            tensors, self, name
        )
        return converted

    def published(self, name: str) -> Sequence[WeightRecord]:
        """What `weights.yaml` in the family's folder says."""
        return records.official_of(name)


def not_dilated(name: str) -> Problem:
    """What is said where an encoder has no dilated form."""
    return Problem("network.backbone.dilation", f"{name} has no dilated last stage", "a ResNet", "leave the field out")


def close_to(name: str, names: Sequence[str]) -> list[str]:
    """The three names most like this one."""
    return difflib.get_close_matches(name, names, n=3)


def _load(path: str, purpose: str) -> Any:
    """The function that 'module:function' names. Raises MissingExtraError where PyTorch is not installed."""
    module, _, function = path.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        raise MissingExtraError("train", purpose) from error
