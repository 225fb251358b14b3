"""The files of a bundle, wherever they lie: a folder, a zip, or either of them behind an fsspec URL.

Nothing is ever unpacked to disk: a file is read by its name, and only names that bundle.json lists are read.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Protocol

from espalier import storage
from espalier.errors import ModelError, Problem

ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""The one date of every file in our zips: the oldest that the format can say."""

LARGEST_RATIO = 200
"""A zip's member that unpacks to more than this many times its packed size, and to more than 10 MB, is a bomb."""

_FREE_SIZE = 10 * 2**20
_MEMBERS = 20_000
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_CHUNK = 2**20
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, NotImplementedError, RuntimeError)

FETCH_AGAIN = "copy the bundle again from where it was made, or export it anew"


class Files(Protocol):
    """Read-only files by relative path."""

    where: str

    def names(self) -> list[str]:
        """The files there are."""

    def chunks(self, name: str) -> Iterator[bytes]:
        """The file's bytes, a piece at a time; raises ModelError if it is missing, damaged or unsafe."""


class FolderFiles:
    """A bundle in a folder, local or remote."""

    def __init__(self, root: str) -> None:
        self.where = root

    def names(self) -> list[str]:
        root = self.where.rstrip("/\\")
        return [path[len(root) + 1 :].replace("\\", "/") for path in storage.list_files(root)]

    def chunks(self, name: str) -> Iterator[bytes]:
        path = storage.join(self.where, name)
        if "://" not in path:
            _refuse_escape(Path(self.where), Path(path), name)
        if not storage.exists(path):
            raise missing(self.where, name)
        with storage.open_read(path) as stream:
            yield from _pieces(stream, f"{self.where}: {name}")


class ZipFiles:
    """A bundle in one zip. Opening checks the directory: bombs, doubles, odd methods and encryption are refused."""

    def __init__(self, path: str) -> None:
        self.where = path
        with _open_zip(path) as archive:
            _check_directory(archive.infolist(), path)
            self._names = [info.filename for info in archive.infolist() if not info.is_dir()]

    def names(self) -> list[str]:
        return self._names

    def chunks(self, name: str) -> Iterator[bytes]:
        if name not in self._names:
            raise missing(self.where, name)
        where = f"{self.where}: {name}"
        with _open_zip(self.where) as archive:
            try:
                stream = archive.open(name)
            except _BROKEN as error:
                raise damaged(where, str(error)) from None
            with stream:
                yield from _pieces(stream, where)


def _open_zip(path: str) -> zipfile.ZipFile:
    source: str | IO[bytes] = storage.open_read(path) if storage.is_remote(path) else path
    try:
        return zipfile.ZipFile(source)
    except _BROKEN as error:
        raise damaged(path, f"is not a readable zip: {error}") from None


def _pieces(stream: IO[bytes], where: str) -> Iterator[bytes]:
    while True:
        try:
            piece = stream.read(_CHUNK)
        except _BROKEN as error:
            raise damaged(where, str(error)) from None
        if not piece:
            return
        yield piece


def _check_directory(members: Sequence[zipfile.ZipInfo], where: str) -> None:
    if len(members) > _MEMBERS:
        raise damaged(where, f"holds {len(members)} files, more than the {_MEMBERS} that any bundle needs")
    if len({m.filename for m in members}) != len(members):
        raise damaged(where, "holds two files of one name")
    for member in members:
        _check_member(member, f"{where}: {member.filename[:100]}")


def _check_member(member: zipfile.ZipInfo, where: str) -> None:
    if not member.filename:
        raise damaged(where, "is a file without a name")
    if member.filename.startswith("/") or ".." in member.filename.split("/"):
        raise damaged(where, "is a path that leaves the bundle")
    if member.flag_bits & 0x1:
        raise damaged(where, "is encrypted")
    if member.compress_type not in _METHODS:
        raise damaged(where, "is packed by a method other than stored or deflate")
    if member.file_size > max(_FREE_SIZE, LARGEST_RATIO * member.compress_size):
        raise damaged(where, f"would unpack {member.compress_size} bytes to {member.file_size}: a zip bomb")


def _refuse_escape(root: Path, path: Path, name: str) -> None:
    if not path.resolve().is_relative_to(root.resolve()):
        fix = "replace the link by the file itself"
        raise ModelError(Problem(f"{root}: {name}", "is a link that leads out of the bundle", fix=fix))


def missing(where: str, name: str) -> ModelError:
    """The error for a file that bundle.json lists and that is not there."""
    return ModelError(Problem(f"{where}: {name}", "is missing from the bundle", fix=FETCH_AGAIN))


def damaged(where: str, what: str) -> ModelError:
    """The error for a file that is not what it should be."""
    return ModelError(Problem(where, what, fix=FETCH_AGAIN))
