"""Results as published: what a paper trained, on what, and what it scored. Data beside a network, `published.yaml`."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

import yaml

from espalier.errors import Problem, UsageError
from espalier.networks import registry
from espalier.networks.card import Network
from espalier.networks.coco_names import class_names


@dataclass(frozen=True)
class PublishedResult:
    """One published model: every value of its training and evaluation, and the figures with where they stand."""

    preset: str
    layout: str  # of data.layouts
    rows: int  # of the published class head
    step_pictures: int  # in one optimiser step, over all devices
    spec: Mapping[str, Any]  # nested values beyond the preset's
    decode: Mapping[str, Any]  # parameters of the decoder that the published figures were made with
    figures: Mapping[str, float]  # our name of the figure → the published value, in per cent
    source: str
    checkpoint: str  # what the authors call the file, and where it is
    notes: tuple[str, ...] = ()  # what can't be, or is not, as published

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the rows."""
        return class_names(self.rows)

    def values(self, network: str, folder: str, devices: int) -> dict[str, Any]:
        """The nested values of a spec that trains it on a data set in `folder`."""
        own = copy.deepcopy(dict(self.spec))
        train = own.setdefault("train", {})
        train["accumulate"] = max(1, self.step_pictures // (int(train["batch_size"]) * devices))
        own["network"] = {**own.get("network", {}), "name": network, "preset": self.preset}
        own["data"] = {**own.get("data", {}), "train": folder, "classes": list(self.classes)}
        return own


class PublishedFile(Mapping[str, PublishedResult]):
    """Name → result, from the `published.yaml` of a network's package; empty where it has none."""

    def __init__(self, package: str) -> None:
        self._package = package

    @cached_property
    def _entries(self) -> dict[str, PublishedResult]:
        text = resources.files(self._package).joinpath("published.yaml").read_text("utf-8")
        document = yaml.safe_load(text)
        shared = document.pop("shared", {})
        return {name: _result({**shared, **entry}) for name, entry in document.items()}

    def __getitem__(self, name: str) -> PublishedResult:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def find(name: str) -> tuple[Network, PublishedResult]:
    """The result of that name, of whatever network. Raises UsageError with the names that there are."""
    there = {entry: card for card in map(registry.get, registry.names()) for entry in card.published}
    if name not in there:
        close = difflib.get_close_matches(name, there, n=1)
        hint = f"did you mean '{close[0]}'?" if close else ""
        what = f"there is no published result '{name}'"
        raise UsageError(Problem("reproduce.name", what, f"one of: {', '.join(sorted(there))}", hint))
    return there[name], there[name].published[name]


def _result(entry: Mapping[str, Any]) -> PublishedResult:
    values = {**entry, "notes": tuple(entry.get("notes", ()))}
    return PublishedResult(**values)
