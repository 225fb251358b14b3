"""Bringing weights into the cache: fetched from their publisher, or imported from a file that the user has."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from espalier import storage
from espalier.backbones import registry
from espalier.backbones.weights import cache, fetch, records
from espalier.backbones.weights.cache import WeightFile
from espalier.backbones.weights.records import WeightRecord
from espalier.errors import InputError, MissingExtraError, ModelError, Problem

Say = Callable[[str], None]


def fetch_record(record: WeightRecord, *, say: Say = print, name_it: str = "network.backbone.name=") -> WeightFile:
    """The record's weights, fetched into the cache; those already there are only verified.

    `name_it` is where the user names the encoder. Raises ModelError.
    """
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
        return _keep(record, fetched.path, checked_by=fetched.stated_by, say=say, name_it=name_it)


def import_file(
    file: str, as_name: str, *, backbone: str | None = None, licence: str | None = None, say: Say = print
) -> WeightFile:
    """A weight file (a path, or an address that is fetched first) in the cache under `as_name`.

    `backbone` is needed when `as_name` doesn't name one. Foreign pickles are opened here and nowhere else, as tensors
    only, and kept as safetensors. Raises ModelError.
    """
    encoder = backbone or _backbone_of(as_name) or _backbone_from(file)
    if not encoder:
        fix = "add --backbone NAME, e.g. --backbone timm/resnet18"
        raise ModelError(Problem(as_name, "which encoder are these weights for?", fix=fix))
    encoder = registry.untagged(encoder)
    known = _known(file, as_name, encoder, say)
    source = file if fetch.is_address(file) else f"file:{Path(file).name}"
    record = replace(known, name=as_name, backbone=encoder, source=source, licence=licence or known.licence)
    name_it = "--as " if _backbone_of(as_name) == encoder else "--backbone "
    if fetch.is_address(file):
        return fetch_record(record, say=say, name_it=name_it)
    if not Path(file).is_file():
        raise ModelError(Problem(file, "there is no such file"))
    if record.sha256 is not None:
        fetch.check(Path(file), record.sha256, "its publisher", file)
    return _keep(record, Path(file), checked_by="", say=say, name_it=name_it, replace_kept=True)


def _known(file: str, as_name: str, encoder: str, say: Say) -> WeightRecord:
    """What is known of a file by its address; else by the name it is given or has, when that speaks of a licence that
    binds: a name is no proof, so it never gives a licence that allows more."""
    by_source = records.by_source(file)
    if by_source is not None:
        return by_source
    named = records.by_name(as_name)
    if named is not None and named.restricted:
        return named
    of_file = [record for record in records.official_of(encoder) if record.file_name == Path(file).name]
    if not of_file:
        return WeightRecord("", "", file)
    say(f"{file} has the name of {of_file[0]}: taken for it; --licence says otherwise")
    return of_file[0]


def _keep(
    record: WeightRecord, file: Path, *, checked_by: str, say: Say, name_it: str, replace_kept: bool = False
) -> WeightFile:
    try:
        from safetensors.torch import save_file

        from espalier.backbones.conversion import converted
        from espalier.backbones.weights.foreign import read_tensors
    except ModuleNotFoundError as error:
        raise MissingExtraError("train", "converting weights") from error
    tensors = read_tensors(file)
    mapped = converted(tensors, record.backbone, where=str(file), name_it=name_it, hints=(file.name,))
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
        return registry.untagged(name)
    except InputError:
        return None


def _backbone_from(address: str) -> str | None:
    """The encoder of the rung or publisher's record that comes from there."""
    record = records.by_source(address)
    return None if record is None else record.backbone
