"""Presets as data: a network's `presets.yaml`, read when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

import yaml


@dataclass(frozen=True)
class PresetFacts:
    """What the contract suite holds a preset to, for `classes` classes; output shapes are without the batch axis."""

    params: int
    outputs: Mapping[str, tuple[int, ...]]
    classes: int = 10
    about: str = ""


class PresetFile(Mapping[str, Mapping[str, Any]]):
    """Preset name → nested spec values (`network`, `train`, …), from the `presets.yaml` of a network's package.

    Each entry of the file has `about`, `params`, `outputs` and `spec`.
    """

    def __init__(self, package: str) -> None:
        self._package = package

    @cached_property
    def _entries(self) -> dict[str, Any]:
        text = resources.files(self._package).joinpath("presets.yaml").read_text("utf-8")
        return dict(yaml.safe_load(text))

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        return dict(self._entries[name]["spec"])

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def facts(self, name: str) -> PresetFacts:
        """The stated facts of a preset."""
        entry = self._entries[name]
        outputs = {key: tuple(shape) for key, shape in entry["outputs"].items()}
        return PresetFacts(int(entry["params"]), outputs, int(entry.get("classes", 10)), str(entry["about"]))
