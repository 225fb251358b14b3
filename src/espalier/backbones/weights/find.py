"""Which start weights a spec's `network.backbone.weights` means, and why."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from espalier.backbones import registry
from espalier.backbones.weights import cache, fetch, keep, records
from espalier.backbones.weights.cache import WeightFile
from espalier.backbones.weights.keep import Say
from espalier.backbones.weights.records import WeightRecord
from espalier.errors import LicenceError, ModelError, Problem
from espalier.spec.resolve import Decision

FIELD = "network.backbone.weights"
_HUB_ID = re.compile(r"(?:hf-hub:|hub:)?([\w.-]+/[\w.-]+)\Z")
_FILES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")


@dataclass(frozen=True)
class Rules:
    """What may be taken: `download` allows the network, `licences` 'commercial' only what may be used commercially."""

    download: bool = False
    licences: str = "any"

    def allow(self, record: WeightRecord) -> bool:
        """May these weights be taken?"""
        return self.licences != "commercial" or record.commercial


def find(
    weights: str,
    backbone: str,
    *,
    task: str = "classification",
    download: bool = False,
    licences: str = "any",
    say: Say = print,
) -> tuple[WeightFile | None, Decision]:
    """The weights to start the encoder from, None for none, and the decision with its reason.

    Raises LicenceError for weights asked for by name whose licence the spec refuses, and ModelError for weights that
    aren't here and may not be fetched (`auto` starts from random weights then, and says so).
    """
    rules = Rules(download, licences)
    if weights == "none":
        return None, Decision(FIELD, weights, "none", "asked for: the encoder starts from random weights")
    if weights in ("auto", "imagenet"):
        return _by_ladder(weights, backbone, task, rules, say)
    if weights == "official":
        found = _official(backbone, rules, say)
        return found, Decision(FIELD, weights, found.record.name, f"its publisher's own: {found.record}")
    found = _asked(weights, backbone, rules, say)
    return found, Decision(FIELD, weights, found.record.name, f"asked for; licence {found.record.licence}")


def best(
    task: str,
    *,
    download: bool = False,
    licences: str = "any",
    max_size_mb: float | None = None,
    takes: Callable[[str], bool] = lambda encoder: True,
    say: Say = print,
) -> tuple[WeightFile | None, Decision]:
    """For `fit`, which may choose the encoder too: the best rung at hand of at most that size, and the decision.

    `takes` says of an encoder whether the network can use it. With `download` the best rung of all is fetched when none
    is at hand. The encoder is `file.record.backbone`.
    """
    rules, field = Rules(download, licences), "network.backbone.name"
    rungs = [r for r in _with_imported(records.ladder(task), None) if _is_small(r, max_size_mb) and takes(r.backbone)]
    allowed = [rung for rung in rungs if rules.allow(rung)]
    found = _first_at_hand(allowed) or (_first_fetched(allowed, say) if download else None)
    if found is None:
        reason = _nothing(allowed, [rung for rung in rungs if not rules.allow(rung)])
        return None, Decision(field, "auto", "none", f"{reason}{_left_aside()}")
    return found, Decision(field, "auto", found.record.backbone, f"{_why(found, allowed, task)}{_left_aside()}")


def _by_ladder(weights: str, backbone: str, task: str, rules: Rules, say: Say) -> tuple[WeightFile | None, Decision]:
    rungs, on_request = list(_with_imported(_rungs(backbone, task), backbone)), []
    if not rungs:
        offered = registry.published(backbone)
        rungs, on_request = [r for r in offered if not r.restricted], [r for r in offered if r.restricted]
    allowed, refused = [r for r in rungs if rules.allow(r)], [r for r in rungs if not rules.allow(r)]
    found = _first_at_hand(allowed) or (_first_fetched(allowed, say) if rules.download else None)
    if found is not None:
        return found, Decision(FIELD, weights, found.record.name, _why(found, allowed, task))
    reason = _nothing(allowed, refused) + _on_request(on_request)
    if weights == "imagenet":
        raise ModelError(Problem(f"{FIELD}: imagenet", reason))
    return None, Decision(FIELD, weights, "none", f"{reason}; it starts from random weights")


def _official(backbone: str, rules: Rules, say: Say) -> WeightFile:
    """The publisher's own weights: the first at hand that the licences allow, else the first, fetched."""
    encoder = registry.untagged(backbone)
    offered = registry.published(backbone)
    if not offered:
        fix = "network.backbone.weights=none starts from random weights"
        raise ModelError(Problem(f"{FIELD}: official", f"nobody has published weights of {encoder}", fix=fix))
    allowed = [record for record in offered if rules.allow(record)]
    if not allowed:
        _refuse(offered[0], rules)
    found = _first_at_hand([*allowed, *_copies(encoder, offered, rules)])
    if found is not None:
        return found
    if rules.download:
        return keep.fetch_record(allowed[0], say=say)
    expected = f"published for {encoder}: {'; '.join(map(str, allowed))}"
    fix = f"espalier weights fetch {allowed[0].name}, or network.backbone.download=true"
    raise ModelError(Problem(f"{FIELD}: official", "these weights are not on this machine", expected, fix))


def _copies(encoder: str, offered: Iterable[WeightRecord], rules: Rules) -> list[WeightRecord]:
    """Weights in the cache that the user imported under another name from a file of the publisher's."""
    sources = {f"file:{record.file_name}" for record in offered if record.file_name}
    kept = [kept.record for kept in cache.listed() if kept.record.backbone == encoder]
    return [record for record in kept if record.source in sources and rules.allow(record)]


def _asked(weights: str, backbone: str, rules: Rules, say: Say) -> WeightFile:
    """Weights by their name, path or address."""
    is_file = fetch.is_address(weights) or weights.endswith(_FILES)
    kept = cache.get(weights) if cache.is_name(weights) and not is_file else None
    if kept is not None:
        _refuse(kept.record, rules)
        cache.verify(kept)
        return kept
    if Path(weights).is_file() or (weights.endswith(_FILES) and not fetch.is_address(weights)):
        return _own_file(Path(weights), backbone, rules)
    record = _record_of(weights, backbone)
    _refuse(record, rules)
    kept = cache.get(record.name)
    if kept is None and not rules.download:
        fix = f"espalier weights fetch {record.name}, or network.backbone.download=true"
        raise ModelError(Problem(f"{FIELD}: {weights}", "these weights are not on this machine", fix=fix))
    return keep.fetch_record(record, say=say)


def _own_file(file: Path, backbone: str, rules: Rules) -> WeightFile:
    """A .safetensors file of the user's, where it lies."""
    if not file.is_file():
        raise ModelError(Problem(f"{FIELD}: {file}", "there is no such file"))
    if file.suffix not in _FILES:
        raise ModelError(Problem(f"{FIELD}: {file}", "this is no file of weights", f"one of {', '.join(_FILES)}"))
    if file.suffix != ".safetensors":
        fix = f"espalier weights import {file} --as NAME --backbone {backbone}, then network.backbone.weights=NAME"
        raise ModelError(Problem(f"{FIELD}: {file}", "a pickled file is opened only when it is imported", fix=fix))
    record = WeightRecord(file.stem, registry.untagged(backbone), f"file:{file.name}")
    _refuse(record, rules)
    sha256 = cache.sha256_of(file)
    return WeightFile(file, record, sha256, file.stat().st_size, sha256, "")


def _record_of(weights: str, backbone: str) -> WeightRecord:
    """The record of a rung, a timm tag, an address or a hub id."""
    known = records.by_name(weights) or records.by_source(weights)
    if known is not None:
        return known
    if fetch.is_address(weights):
        return WeightRecord(_name_of(weights), registry.untagged(backbone), weights)
    offered = registry.published(weights)
    if offered:
        return offered[0]
    hub = _HUB_ID.match(weights)
    if hub is None:
        here = ", ".join(kept.record.name for kept in cache.listed()) or "none"
        what = "there are no weights of that name"
        raise ModelError(Problem(f"{FIELD}: {weights}", what, f"in the cache: {here}", "espalier weights list"))
    return WeightRecord(hub[1], registry.untagged(backbone), f"hub:{hub[1]}")


def _name_of(address: str) -> str:
    """A name for the weights at an address, with what makes it unlike others of the same file name."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", address.partition("://")[2] or address.partition(":")[2]).strip("-.")
    return plain[-120:].lstrip("-._")


def _refuse(record: WeightRecord, rules: Rules) -> None:
    if not rules.allow(record):
        what = f"the licence is '{record.licence}', and the spec takes only what may be used commercially"
        fix = "choose other weights, or set licences: any if your use allows it"
        raise LicenceError(Problem(f"{FIELD}: {record.name}", what, fix=fix))


def _rungs(backbone: str, task: str) -> Iterable[WeightRecord]:
    """The ladder's rungs of this encoder; with a tag, that one alone."""
    bare, encoder = backbone.removeprefix("timm/"), registry.untagged(backbone)
    for rung in records.ladder(task):
        if rung.backbone == encoder and ("." not in bare or bare == rung.name):
            yield rung


def _with_imported(rungs: Iterable[WeightRecord], backbone: str | None) -> Iterable[WeightRecord]:
    """The rungs, then weights in the cache that the user brought (for this encoder, or for any)."""
    rungs = list(rungs)
    yield from rungs
    names = {rung.name for rung in rungs}
    encoder = None if backbone is None else registry.untagged(backbone)
    for kept in cache.listed():
        fits = encoder in (None, kept.record.backbone)
        if fits and kept.record.name not in names and records.by_name(kept.record.name) is None:
            yield kept.record


def _first_at_hand(rungs: Iterable[WeightRecord]) -> WeightFile | None:
    found = next((kept for kept in (cache.get(rung.name) for rung in rungs) if kept is not None), None)
    if found is not None:
        cache.verify(found)
    return found


def _first_fetched(rungs: Iterable[WeightRecord], say: Say) -> WeightFile | None:
    """The first that can be reached; each that can't is told."""
    for rung in rungs:
        try:
            return keep.fetch_record(rung, say=say)
        except ModelError as error:
            say(f"{rung.name}: {error}")
    return None


def _why(found: WeightFile, rungs: list[WeightRecord], task: str) -> str:
    better = rungs[0]
    if better.name == found.record.name:
        return f"{found.record}: the best of the ladder for {task}"
    return f"{found.record}: the best on this machine; `espalier weights fetch {better.name}` gets a better one"


def _nothing(rungs: list[WeightRecord], refused: list[WeightRecord]) -> str:
    """Why there are none."""
    text = "no weights for it on this machine"
    if refused:
        text += f" that may be used commercially ({', '.join(r.name for r in refused)} may not)"
    if rungs:
        text += f"; `espalier weights fetch {rungs[0].name}` gets {rungs[0]}"
    return text


def _is_small(record: WeightRecord, max_size_mb: float | None) -> bool:
    return max_size_mb is None or record.size_mb is None or record.size_mb <= max_size_mb


def _on_request(records_: list[WeightRecord]) -> str:
    """What is never taken unasked, and how to ask."""
    if not records_:
        return ""
    licences = " and ".join(sorted({record.licence for record in records_}))
    return f"; its publisher's own ({licences}) are not for commercial use: {FIELD}=official asks for them"


def _left_aside() -> str:
    """The families whose weights `fit` never takes by itself."""
    families = [name for name, offered in records.official().items() if all(r.restricted for r in offered)]
    if not families:
        return ""
    return f"; official weights of {', '.join(families)} are not for commercial use and are taken only when asked for"
