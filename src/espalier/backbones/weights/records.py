"""What is known of a set of start weights before it is fetched: source, licence, size, published score. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import yaml

NOT_STATED = "not stated"

_COMMERCIAL = frozenset(
    {"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "cc0-1.0", "cc-by-4.0", "unlicense", "0bsd"}
)
"""Licences, by lower-case SPDX id, that allow commercial use without asking. Any other counts as not allowing it."""


@dataclass(frozen=True)
class WeightRecord:
    """One set of weights. `sha256` is the publisher's statement about the file at `source`, None when there is none."""

    name: str
    backbone: str  # timm/NAME, without a tag
    source: str  # hub:ORG/NAME | https://… | package:NAME==VERSION/path | file:NAME (what the user brought)
    licence: str = NOT_STATED
    size_mb: float | None = None
    score: float | None = None  # published ImageNet-1k top-1, %
    score_at: int | None = None  # at this input size, px
    sha256: str | None = None
    note: str = ""

    @property
    def commercial(self) -> bool:
        """Does the licence, as stated, allow commercial use?"""
        return is_commercial(self.licence)

    def __str__(self) -> str:
        size = f", {self.size_mb:g} MB" if self.size_mb else ""
        score = f", ImageNet top-1 {self.score:.1f} %" if self.score else ""
        return f"{self.name} (licence {self.licence}{size}{score})"


def is_commercial(licence: str) -> bool:
    """Does a licence of this SPDX id allow commercial use? False for any that isn't known to."""
    return licence.strip().lower() in _COMMERCIAL


@lru_cache(maxsize=16)
def ladder(task: str) -> tuple[WeightRecord, ...]:
    """The rungs of a task, best first; none for a task that has no ladder yet."""
    file = resources.files(__package__).joinpath(f"ladder_{task}.yaml")
    if not file.is_file():
        return ()
    return tuple(_record(entry) for entry in yaml.safe_load(file.read_text("utf-8")))


def ladders() -> dict[str, tuple[WeightRecord, ...]]:
    """Every ladder by its task."""
    files = (file.name for file in resources.files(__package__).iterdir())
    tasks = sorted(n.removeprefix("ladder_").removesuffix(".yaml") for n in files if n.startswith("ladder_"))
    return {task: ladder(task) for task in tasks}


def by_name(name: str) -> WeightRecord | None:
    """The rung of that name on any ladder."""
    return next((record for rungs in ladders().values() for record in rungs if record.name == name), None)


def by_source(source: str) -> WeightRecord | None:
    """The rung that comes from there."""
    return next((record for rungs in ladders().values() for record in rungs if record.source == source), None)


def _record(entry: Mapping[str, Any]) -> WeightRecord:
    return WeightRecord(**entry)
