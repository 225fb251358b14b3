"""What the page says, before it is HTML: the run's blocks in their sections, and what follows from its other events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espalier.blocks import Block, Table, Text
from espalier.runs import events
from espalier.runs.console import clean
from espalier.runs.record import RunRecord, read_record
from espalier.runs.report import training
from espalier.runs.report.parse import block_of
from espalier.runs.report.paths import shortened

TITLES = {
    "result": "Result",
    "mistakes": "Mistakes",
    "robustness": "Robustness",
    "training": "Training",
    "data": "Data",
    "labels": "More labels?",
    "speed": "Speed",
    "proof": "Proof",
    "decisions": "Decisions",
    "licences": "Licences",
    "use": "Use it",
}
"""The sections in the order of the page. A section of another name comes before `decisions`."""

_LATE = ("decisions", "licences", "use")
_PRINT = "fingerprint"


@dataclass(frozen=True)
class Section:
    """A part of the page; `name` is its anchor."""

    name: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """Everything on a run's page."""

    record: RunRecord
    sections: tuple[Section, ...]
    warnings: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    unknown: int = 0  # blocks that only a newer Espalier can show


@dataclass
class _Found:
    """What is gathered while the events are read. Dicts keep the first place and the last value."""

    blocks: dict[tuple[str, str, str], Block] = field(default_factory=dict)
    decisions: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    licences: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    training: list[Mapping[str, Any]] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    unknown: int = 0


def read_document(run_path: Path) -> Document:
    """The page of a run; raises ModelError for a run or an event that can't be read."""
    record = read_record(run_path)
    told = {name: shortened(getattr(record, name)) for name in ("error", "parent", "data", "decisions")}
    record = record.model_copy(update=told)
    found = _gather(events.read_events(run_path / events.NAME), run_path / events.NAME)
    sections = _sections(found, record, run_path)
    return Document(record, sections, tuple(found.warnings), tuple(found.log), found.unknown)


def _gather(happened: Iterable[events.Event], path: Path) -> _Found:
    found = _Found()
    for number, happening in enumerate(happened, start=1):
        event = shortened(happening)
        kind = event["kind"]
        if kind == "block":
            _add_block(found, event, f"{path}:{number}")
        elif kind in ("step", "epoch"):
            found.training.append(event)
        elif kind == "decision":
            found.decisions[str(event.get("field"))] = event
        elif kind == "licence":
            found.licences[str(event.get("name"))] = event
        elif kind == "data":
            found.data |= {k: v for k, v in event.items() if k not in ("kind", "t")}
        elif kind == "warning":
            found.warnings[str(event.get("text"))] = None
        elif kind == "say":
            found.log.append(clean(event.get("text")))
    return found


def _add_block(found: _Found, event: events.Event, where: str) -> None:
    block = block_of(event.get("block"), where)
    if block is None:
        found.unknown += 1
    else:
        found.blocks[(str(event.get("section")), block.kind, block.title)] = block


def _sections(found: _Found, record: RunRecord, run_path: Path) -> tuple[Section, ...]:
    filled: dict[str, list[Block]] = {name: [] for name in TITLES}
    for (name, _, _), block in found.blocks.items():
        filled.setdefault(name, []).append(block)
    filled["training"] += training.blocks(found.training)
    filled["data"] = [*_facts("The data", found.data or record.data), *filled["data"]]
    filled["decisions"] += _decisions(list(found.decisions.values()) or record.decisions)
    filled["licences"] += _licences(found.licences.values())
    filled["use"] = filled["use"] or list(_use(run_path))
    order = [n for n in filled if n not in _LATE] + list(_LATE)
    titles = {name: TITLES.get(name, name.replace("_", " ").capitalize()) for name in order}
    return tuple(Section(_anchor(name), titles[name], tuple(filled[name])) for name in order if filled[name])


def _anchor(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name)


def _facts(title: str, facts: Mapping[str, Any]) -> Iterator[Block]:
    if facts:
        rows = [(key.replace("_", " "), _told(_without_print(value))) for key, value in facts.items()]
        yield Table(title, ("", ""), [row for row in rows if row[0] != _PRINT])


def _without_print(value: Any) -> Any:
    """A fingerprint is for programs, and run.json has it."""
    return {key: item for key, item in value.items() if key != _PRINT} if isinstance(value, Mapping) else value


def _decisions(found: Iterable[Mapping[str, Any]]) -> Iterator[Block]:
    rows = [
        [str(item.get("field")), _told(item.get("asked")), _told(item.get("chosen")), _told(item.get("reason"))]
        for item in found
    ]
    if rows:
        note = "What the spec left open, what was chosen for it, and why. Set a field to decide it yourself."
        yield Table("What was decided for you", ("field", "asked", "chosen", "because"), rows, note)


def _licences(found: Iterable[Mapping[str, Any]]) -> Iterator[Block]:
    rows = [
        [str(item.get("name")), _told(item.get("licence")), _commercial(item.get("commercial")),
         _told(item.get("url"))]
        for item in found
    ]  # fmt: skip
    if rows:
        note = "What this model was made from. It is what the publishers state, not legal advice."
        yield Table("Licences", ("part", "licence", "commercial use", "from"), rows, note)


def _commercial(stated: Any) -> str:
    return {True: "yes", False: "no"}.get(stated, "not stated") if isinstance(stated, bool) else "not stated"


def _use(run_path: Path) -> Iterator[Block]:
    """How to run the bundle that lies in the run, when there is one."""
    if not (run_path / "bundle" / "bundle.json").is_file():
        return
    yield Text(
        "In the shell",
        "pip install espalier-vision        # no PyTorch needed\n"
        "espalier verify bundle             # the same outputs on this machine as where it was made?\n"
        "espalier predict bundle photo.jpg --out predictions",
        code=True,
    )
    yield Text(
        "In Python",
        'import espalier\n\nmodel = espalier.load("bundle")\nfor prediction in model.predict(["photo.jpg"]):\n'
        "    print(prediction)",
        code=True,
    )


def _told(value: Any) -> str | int | float | None:
    if value is None or (isinstance(value, (str, int, float)) and not isinstance(value, bool)):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_told(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, (list, tuple)):
        head = ", ".join(str(_told(item)) for item in value[:20])
        return head if len(value) <= 20 else f"{head}, … ({len(value)})"
    return str(value)
