"""What is known of a set of start weights before it is fetched: source, licence, size, published score. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

import yaml

OF_ENCODERS = "classification"  # the ladder of weights that an encoder may start from whatever its task
NOT_STATED = "not stated"

_COMMERCIAL = frozenset(
    {"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "cc0-1.0", "cc-by-4.0", "unlicense", "0bsd"}
)
"""Licences, by lower-case SPDX id, that allow commercial use without asking. Any other counts as not allowing it."""


@dataclass(frozen=True)
class WeightRecord:
    """One set of weights. `sha256` is the publisher's statement about the file at `source`, None when there is none."""

    name: str
    backbone: str  # an encoder of the house, or timm/NAME without a tag
    source: str  # hub:ORG/NAME | https://… | package:NAME==VERSION/path | file:NAME (what the user brought)
    licence: str = NOT_STATED
    size_mb: float | None = None
    score: float | None = None  # published ImageNet-1k top-1, %
    score_at: int | None = None  # at this input size, px
    sha256: str | None = None
    note: str = ""
    pretraining: str = ""  # the pictures that they were trained on, where the publisher says so
    input: Mapping[str, Any] = field(default_factory=dict, hash=False)  # what differs from the encoder's own input

    @property
    def commercial(self) -> bool:
        """Does the licence, as stated, allow commercial use?"""
        return is_commercial(self.licence)

    @property
    def restricted(self) -> bool:
        """Is a licence stated that isn't known to allow commercial use?"""
        return self.licence != NOT_STATED and not self.commercial

    @property
    def file_name(self) -> str:
        """The name of the publisher's file, '' where the source names none."""
        name = PurePosixPath(self.source.partition("?")[0]).name
        return name if "." in name else ""

    def __str__(self) -> str:
        size = f", {self.size_mb:g} MB" if self.size_mb else ""
        score = f", ImageNet top-1 {self.score:.1f} %" if self.score else ""
        use = ", not for commercial use" if self.restricted else ""
        return f"{self.name} (licence {self.licence}{use}{size}{score})"


def is_commercial(licence: str) -> bool:
    """Does a licence of this SPDX id allow commercial use? False for any that isn't known to."""
    return licence.strip().lower() in _COMMERCIAL


@lru_cache(maxsize=16)
def ladder(task: str) -> tuple[WeightRecord, ...]:
    """The rungs of a task, best first; a task without its own has that of encoders, which learnt to classify."""
    room = resources.files(__package__)
    file = room.joinpath(f"ladder_{task}.yaml")
    if not file.is_file():
        file = room.joinpath(f"ladder_{OF_ENCODERS}.yaml")
    return tuple(_record(entry) for entry in yaml.safe_load(file.read_text("utf-8")))


def ladders() -> dict[str, tuple[WeightRecord, ...]]:
    """Every ladder by its task."""
    files = (file.name for file in resources.files(__package__).iterdir())
    tasks = sorted(n.removeprefix("ladder_").removesuffix(".yaml") for n in files if n.startswith("ladder_"))
    return {task: ladder(task) for task in tasks}


@lru_cache(maxsize=1)
def official() -> Mapping[str, tuple[WeightRecord, ...]]:
    """What publishers offer for the encoders of the house, by family: the `weights.yaml` in a family's folder."""
    rooms = resources.files("espalier.backbones.families").iterdir()
    files = {room.name: room.joinpath("weights.yaml") for room in rooms if room.is_dir()}
    return {family: _offered(file.read_text("utf-8")) for family, file in sorted(files.items()) if file.is_file()}


def official_of(backbone: str) -> tuple[WeightRecord, ...]:
    """The publisher's records of one of the house's encoders, the one to try first at the top."""
    return tuple(record for records in official().values() for record in records if record.backbone == backbone)


def by_name(name: str) -> WeightRecord | None:
    """The rung or the publisher's record of that name."""
    return next((record for record in _known() if record.name == name), None)


def by_source(source: str) -> WeightRecord | None:
    """The rung or the publisher's record that comes from there."""
    return next((record for record in _known() if record.source == source), None)


def _known() -> Iterator[WeightRecord]:
    for records in (*ladders().values(), *official().values()):
        yield from records


def _offered(text: str) -> tuple[WeightRecord, ...]:
    content = yaml.safe_load(text)
    return tuple(_record({**content["shared"], **entry}) for entry in content["records"])


def _record(entry: Mapping[str, Any]) -> WeightRecord:
    return WeightRecord(**entry)
