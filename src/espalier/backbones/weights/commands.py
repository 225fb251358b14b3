"""What the commands of `espalier weights` do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from espalier.backbones import registry
from espalier.backbones.weights import cache, keep, records
from espalier.backbones.weights.cache import WeightFile
from espalier.backbones.weights.records import WeightRecord
from espalier.commands import Reply
from espalier.errors import ModelError, Problem, UsageError


def list_weights(*, task: str | None = None) -> Reply:
    """The rungs of the ladders, best first, what publishers offer by family, and what else is in the cache; what is on
    this machine is marked."""
    ladders, official = records.ladders(), records.official()
    if task is not None and task not in ladders:
        raise UsageError(f"there is no ladder for '{task}'; there is one for: {', '.join(ladders)}")
    here = {kept.record.name: kept for kept in cache.listed()}
    shown = {name: rungs for name, rungs in ladders.items() if task in (None, name)}
    others = [kept.record for name, kept in here.items() if records.by_name(name) is None]
    lines = [line for name, rungs in shown.items() for line in (f"{name}:", *_lines(rungs, here), "")]
    for family, offered in official.items():
        lines += [f"{family}, official ({_terms(offered)}; taken only when asked for):", *_lines(offered, here), ""]
    if others:
        lines += ["on this machine, brought by you:", *_lines(others, here), ""]
    lines.append(f"* is on this machine, in {cache.folder()}")
    data = {
        "ladders": {name: _json(rungs, here) for name, rungs in shown.items()},
        "official": {family: _json(offered, here) for family, offered in official.items()},
        "others": _json(others, here),
    }
    return Reply(tuple(lines), data)


def fetch_weights(*, name: str) -> Reply:
    """Fetches a rung, a publisher's record, or timm's weights of that tag. Raises ModelError."""
    record = records.by_name(name) or next(iter(registry.published(name)), None)
    if record is None:
        what, fix = "there are no weights of that name", "espalier weights list"
        raise ModelError(Problem(name, what, f"timm's names look like resnet18.a1_in1k, not {name}", fix))
    lines: list[str] = []
    return kept_reply(keep.fetch_record(record, say=lines.append), lines)


def kept_reply(kept: WeightFile, lines: Sequence[str]) -> Reply:
    """What a command says of weights that are in the cache now, after what was said on the way."""
    where = f"kept as {kept.record.name} in {kept.path.parent}"
    return Reply((*lines, where), {"path": str(kept.path), "sha256": kept.file_sha256, "record": asdict(kept.record)})


def _lines(shown: Sequence[WeightRecord], here: Mapping[str, WeightFile]) -> list[str]:
    return [_line(record, here) for record in shown]


def _line(record: WeightRecord, here: Mapping[str, WeightFile]) -> str:
    mark = "*" if record.name in here else " "
    score = f"{record.score:.1f} %" if record.score else "-"
    size = f"{record.size_mb:g} MB" if record.size_mb else "-"
    use = "" if record.commercial else "  not for commercial use as stated"
    return f" {mark} {record.name:48} {score:>7} {size:>9}  {record.licence}{use}"


def _terms(offered: Sequence[WeightRecord]) -> str:
    """The notes on the licences of a family's weights."""
    return "; ".join(sorted({record.note for record in offered if record.note}))


def _json(shown: Sequence[WeightRecord], here: Mapping[str, WeightFile]) -> list[dict[str, object]]:
    return [{**asdict(r), "commercial": r.commercial, "here": r.name in here} for r in shown]
