"""Weights on this machine: a folder each with the tensors as safetensors and a record of where they came from."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from espalier import storage
from espalier.backbones.weights.records import WeightRecord
from espalier.errors import ModelError, Problem

FORMAT_VERSION = 1
TENSORS = "weights.safetensors"
RECORD = "record.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,150}\Z")


@dataclass(frozen=True)
class WeightFile:
    """Tensors at `path`. `file_sha256` and `file_bytes` are of the file as fetched, `tensors_sha256` of `path`."""

    path: Path
    record: WeightRecord
    file_sha256: str
    file_bytes: int
    tensors_sha256: str
    checked_by: str  # who stated file_sha256: the publisher, or nobody (then it was pinned at the first fetch)


def folder() -> Path:
    """Where the weights are kept; not made here."""
    return storage.cache_folder() / "weights"


def get(name: str) -> WeightFile | None:
    """The weights of that name, or None. Raises ModelError for a damaged or unknown record."""
    place = _place(name)
    if not (place / RECORD).is_file():
        return None
    value = storage.read_json(place / RECORD, limit=1 << 20)
    if not isinstance(value, dict) or value.get("format_version") != FORMAT_VERSION:
        what = "the record is damaged or of another version"
        raise ModelError(Problem(str(place / RECORD), what, fix=f"remove {place} and fetch the weights again"))
    try:
        record = WeightRecord(**value["record"])
        return WeightFile(place / TENSORS, record, **value["file"])
    except (KeyError, TypeError) as error:
        raise ModelError(Problem(str(place / RECORD), "the record is damaged", fix=f"remove {place}")) from error


def listed() -> list[WeightFile]:
    """All weights on this machine, by name."""
    if not folder().is_dir():
        return []
    names = sorted(place.name for place in folder().iterdir() if (place / RECORD).is_file())
    return [found for found in map(get, names) if found is not None]


def put(
    record: WeightRecord, *, file: Path, checked_by: str, write_tensors: Callable[[Path], object], replace: bool = False
) -> WeightFile:
    """Keeps the weights that came from `file`; `write_tensors` writes them as safetensors at the path it is given.

    Raises ModelError when the same name was pinned to another file before, unless `replace`.
    """
    place, sha256, size = _place(record.name), sha256_of(file), file.stat().st_size
    before = get(record.name)
    if before is not None and before.file_sha256 != sha256 and not replace:
        raise ModelError(_changed(before, sha256, size))
    with storage.atomic_folder(place) as fresh:
        write_tensors(fresh / TENSORS)
        kept = WeightFile(place / TENSORS, record, sha256, size, sha256_of(fresh / TENSORS), checked_by)
        storage.write_json(fresh / RECORD, _json(kept))
    return kept


def relabelled(kept: WeightFile, record: WeightRecord) -> WeightFile:
    """The same tensors with another record: what is known of their licence or score has changed."""
    if kept.record == record:
        return kept
    fresh = dataclasses.replace(kept, record=record)
    storage.write_json(kept.path.parent / RECORD, _json(fresh))
    return fresh


def _json(kept: WeightFile) -> dict[str, Any]:
    facts = {key: value for key, value in asdict(kept).items() if key not in ("path", "record")}
    return {"format_version": FORMAT_VERSION, "record": asdict(kept.record), "file": facts}


def verify(found: WeightFile) -> None:
    """Raises ModelError when the tensors are not those that were kept."""
    if not found.path.is_file() or sha256_of(found.path) != found.tensors_sha256:
        what = "the weights are missing or were changed since they were fetched"
        raise ModelError(Problem(str(found.path), what, fix=f"remove {found.path.parent} and fetch them again"))


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def is_name(text: str) -> bool:
    """Can weights be called that? (It becomes part of a path.)"""
    return bool(_NAME.match(text)) and ".." not in text


def _place(name: str) -> Path:
    """The folder of a name. Raises ModelError for one that is no name."""
    if not is_name(name):
        what = f"'{name[:80]}' can't be a name for weights"
        raise ModelError(Problem("", what, fix="use letters, digits, dots, dashes and slashes"))
    return folder() / name.replace("/", "--")


def _changed(before: WeightFile, sha256: str, size: int) -> Problem:
    return Problem(
        before.record.name,
        f"the file has changed at its source: SHA-256 {sha256[:12]}…, {size:,} bytes",
        f"{before.file_sha256[:12]}…, {before.file_bytes:,} bytes, as pinned when it was first fetched",
        f"find out why; to take the new file, remove {before.path.parent} first",
    )
