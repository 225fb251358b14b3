"""Files inside a zip, each zip opened once. Nothing is ever unpacked to the disk."""

from __future__ import annotations

import lzma
import os
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import IO

from espalier.errors import InputError, Problem

DAMAGE = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, zlib.error, lzma.LZMAError)
"""What zipfile raises: no zip at all, an unknown packing, a password, a wrong checksum, an end too early."""

_RATIO, _FREE_BYTES = 200, 64 << 20  # a member may have 64 MB, and more when it isn't packed more than 200-fold


def names_below(file: Path, folder: str) -> list[str]:
    """The files below a folder of the zip ('' is all of it), named from there."""
    start = f"{folder}/" if folder else ""
    return [name[len(start) :] for name in _names(_opened(file)) if name.startswith(start)]


def folders_below(file: Path, folder: str) -> list[str]:
    """The folders that are stored as such below a folder of the zip, named from there."""
    start = f"{folder}/" if folder else ""
    stored = (info.filename.rstrip("/") for info in _opened(file).infolist() if info.is_dir())
    return [name[len(start) :] for name in stored if name.startswith(start) and len(name) > len(start)]


def is_member(file: Path, name: str) -> bool:
    """Is there a file of that name?"""
    return name in _names(_opened(file))


def is_folder(file: Path, name: str) -> bool:
    """Is it the zip itself, or a folder with files?"""
    return not name or any(member.startswith(f"{name}/") for member in _names(_opened(file)))


def open_member(file: Path, name: str) -> IO[bytes]:
    """The file, open for reading. Raises FileNotFoundError, or InputError for one that unpacks to far more than it
    holds (a zip bomb)."""
    if not is_member(file, name):
        raise FileNotFoundError(name)
    info = _opened(file).getinfo(name)
    if info.file_size > max(_FREE_BYTES, _RATIO * info.compress_size):
        text = f"'{name}' unpacks from {info.compress_size:,} to {info.file_size:,} bytes and is refused as a zip bomb"
        raise InputError(Problem(str(file), text, fix="store it in the zip unpacked if you trust it"))
    return _opened(file).open(info)


def _opened(file: Path) -> zipfile.ZipFile:
    """The open zip, kept while it stays the same file. (Its members may be read by several threads at once.)"""
    stat = file.stat()
    return _open(str(file), stat.st_mtime_ns, stat.st_size, os.getpid())


@lru_cache(maxsize=8)
def _open(file: str, _mtime_ns: int, _size: int, _pid: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(file)


@lru_cache(maxsize=8)
def _names(file: zipfile.ZipFile) -> frozenset[str]:
    return frozenset(info.filename for info in file.infolist() if not info.is_dir())
