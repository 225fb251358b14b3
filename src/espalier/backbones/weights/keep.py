"""Bringing weights into the cache: fetched from their publisher, or imported from a file that the user has."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from espalier import storage
from espalier.backbones.registry import find
from espalier.backbones.weights import cache, fetch, records
from espalier.backbones.weights.cache import WeightFile
from espalier.backbones.weights.records import NOT_STATED, WeightRecord
from espalier.errors import InputError, MissingExtraError, ModelError, Problem

Say = Callable[[str], None]


def fetch_record(record: WeightRecord, *, say: Say = print) -> WeightFile:
    """The record's weights, fetched into the cache; those already there are only verified. Raises ModelError."""
    kept = cache.get(record.name)
    if kept is not None and (kept.record.source, kept.record.backbone) == (record.source, record.backbone):
        cache.verify(kept)
        return cache.relabelled(kept, record)
    storage.make_folder(cache.folder())
    with tempfile.TemporaryDirectory(dir=cache.folder(), prefix=".fetching-") as folder:
        say(f"fetching {record} from {record.source}")
        fetched = fetch.fetch(record.source, Path(folder))
        if record.sha256 is not None:
            fetch.check(fetched.path, record.sha256, "the ladder", record.source)
        return _keep(record, fetched.path, checked_by=fetched.stated_by, say=say)


def import_file(
    file: str, as_name: str, *, backbone: str | None = None, licence: str | None = None, say: Say = print
) -> WeightFile:
    """A weight file (a path, or an address that is fetched first) in the cache under `as_name`.

    `backbone` is needed when `as_name` doesn't name one. Foreign pickles are opened here and nowhere else, as tensors
    only, and kept as safetensors. Raises ModelError.
    """
    known = records.by_source(file) or WeightRecord("", "", file)
    encoder = backbone or _backbone_of(as_name) or known.backbone
    if not encoder:
        fix = "add --backbone NAME, e.g. --backbone timm/resnet18"
        raise ModelError(Problem(as_name, "which encoder are these weights for?", fix=fix))
    source = file if fetch.is_address(file) else f"file:{Path(file).name}"
    licence = licence or known.licence
    record = replace(known, name=as_name, backbone=encoder, source=source, licence=licence)
    if fetch.is_address(file):
        return fetch_record(record, say=say)
    if not Path(file).is_file():
        raise ModelError(Problem(file, "there is no such file"))
    return _keep(record, Path(file), checked_by="", say=say, replace_kept=True)


def _keep(record: WeightRecord, file: Path, *, checked_by: str, say: Say, replace_kept: bool = False) -> WeightFile:
    try:
        from safetensors.torch import save_file

        from espalier.backbones.weights.foreign import read_tensors
    except ModuleNotFoundError as error:
        raise MissingExtraError("train", "converting weights") from error
    family, encoder = find(record.backbone)
    mapped = family.convert(read_tensors(file), encoder)
    tensors = {name: t.contiguous().clone() for name, t in {**mapped.encoder, **mapped.head}.items()}
    kept = cache.put(
        record,
        file=file,
        checked_by=checked_by,
        write_tensors=lambda path: save_file(tensors, path),
        replace=replace_kept,
    )
    say(f"{record.name}: {len(tensors)} tensors, mapped by {mapped.how}; licence {record.licence}")
    say(_pinned(kept))
    return kept


def _pinned(kept: WeightFile) -> str:
    digest = f"SHA-256 {kept.file_sha256} ({kept.file_bytes:,} bytes)"
    if kept.checked_by:
        return f"{digest}, as {kept.checked_by} states"
    return f"{digest}: nobody states one, so this one is pinned here from now on"


def _backbone_of(name: str) -> str | None:
    """The encoder that a weight's name speaks of: a rung's, or the name itself when it is one."""
    rung = records.by_name(name)
    if rung is not None:
        return rung.backbone
    try:
        return find(name)[1].partition(".")[0]
    except InputError:
        return None


def published(name: str) -> WeightRecord | None:
    """timm's own record of a tag (`resnet18.a2_in1k`) that no ladder has; None for what timm doesn't know."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise MissingExtraError("train", "looking up timm's weights") from error
    try:
        config = timm.get_pretrained_cfg(name.removeprefix("timm/"))
    except RuntimeError:  # a tag that the architecture hasn't
        return None
    if config is None or not config.has_weights or not config.hf_hub_id:
        return None
    architecture = f"timm/{config.architecture}"
    tagged = f"{config.architecture}.{config.tag}" if config.tag else str(config.architecture)
    licence = {None: NOT_STATED, "unknown": NOT_STATED}.get(config.license, str(config.license))
    return WeightRecord(tagged, architecture, f"hub:{config.hf_hub_id}", licence)
