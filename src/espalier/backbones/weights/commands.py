"""What the commands of `espalier weights` do."""

from __future__ import annotations

from dataclasses import asdict

from espalier.backbones import registry
from espalier.backbones.weights import cache, keep, records
from espalier.backbones.weights.cache import WeightFile
from espalier.backbones.weights.records import WeightRecord
from espalier.commands import Reply
from espalier.errors import ModelError, Problem, UsageError


def list_weights(*, task: str | None = None) -> Reply:
    """The rungs of the ladders, best first, with those on this machine marked, and what else is in the cache."""
    ladders = records.ladders()
    if task is not None and task not in ladders:
        raise UsageError(f"there is no ladder for '{task}'; there is one for: {', '.join(ladders)}")
    here = {kept.record.name: kept for kept in cache.listed()}
    shown = {name: rungs for name, rungs in ladders.items() if task in (None, name)}
    named = {rung.name for rungs in ladders.values() for rung in rungs}
    others = [kept.record for name, kept in here.items() if name not in named]
    lines = [line for name, rungs in shown.items() for line in (f"{name}:", *(_line(r, here) for r in rungs), "")]
    if others:
        lines += ["on this machine, on no ladder:", *(_line(record, here) for record in others), ""]
    lines.append(f"* is on this machine, in {cache.folder()}")
    ladders_json = {name: [_json(rung, here) for rung in rungs] for name, rungs in shown.items()}
    return Reply(tuple(lines), {"ladders": ladders_json, "others": [_json(record, here) for record in others]})


def fetch_weights(*, name: str) -> Reply:
    """Fetches a rung, or timm's weights of that tag. Raises ModelError."""
    record = records.by_name(name) or next(iter(registry.published(name)), None)
    if record is None:
        what, fix = "there are no weights of that name", "espalier weights list"
        raise ModelError(Problem(name, what, f"timm's names look like resnet18.a1_in1k, not {name}", fix))
    lines: list[str] = []
    return _reply(keep.fetch_record(record, say=lines.append), lines)


def import_weights(*, file: str, as_: str, backbone: str | None = None, licence: str | None = None) -> Reply:
    """Imports a file. Raises ModelError."""
    lines: list[str] = []
    return _reply(keep.import_file(file, as_, backbone=backbone, licence=licence, say=lines.append), lines)


def _reply(kept: WeightFile, lines: list[str]) -> Reply:
    where = f"kept as {kept.record.name} in {kept.path.parent}"
    return Reply((*lines, where), {"path": str(kept.path), "sha256": kept.file_sha256, "record": asdict(kept.record)})


def _line(record: WeightRecord, here: dict[str, WeightFile]) -> str:
    mark = "*" if record.name in here else " "
    score = f"{record.score:.1f} %" if record.score else "-"
    size = f"{record.size_mb:g} MB" if record.size_mb else "-"
    use = "" if record.commercial else "  not for commercial use as stated"
    return f" {mark} {record.name:44} {score:>7} {size:>9}  {record.licence}{use}"


def _json(record: WeightRecord, here: dict[str, WeightFile]) -> dict[str, object]:
    return {**asdict(record), "commercial": record.commercial, "here": record.name in here}
