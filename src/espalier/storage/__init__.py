"""Files wherever they are: local folders, zip files and fsspec URLs, read and written by the same few words.

A path is a local path, an address such as `s3://bucket/photos`, or a zip: `zip://inner/a.jpg::photos.zip`. A local
`photos.zip` is a folder too, and `photos.zip/inner/a.jpg` a file in it. Web addresses are read by `read_url` alone,
which a verb calls only when it was asked to.

Writing is all or nothing: what was there stays until the new bytes are complete on the disk.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import re
import secrets
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from espalier.errors import InputError, MissingExtraError, Problem, StorageError
from espalier.storage import zips

StrPath = str | os.PathLike[str]

EXTRA_OF_SCHEME = {
    "s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure", "memory": "",
}  # fmt: skip
"""The addresses we open, and the extra that each needs."""

_SECRET = re.compile(r"\b(https?|rtsps?|rtmps?|rtp|udp|tcp|srt)://[^/?#\s]*@")  # in abfs:// it is the container

_WRITE_PROBLEMS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENAMETOOLONG, errno.EFBIG,
     errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.ELOOP, errno.EMFILE, errno.ENFILE}
)  # fmt: skip
_INPUT_PROBLEMS = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


# ---- what a path is ----------------------------------------------------------------------------------------------


def is_remote(path: StrPath) -> bool:
    """Is it an address that is neither a local path nor inside a local zip?"""
    return "://" in str(path) and not str(path).startswith(("zip://", "file://"))


def without_password(text: str) -> str:
    """An address, or a text with addresses in it, without users and their passwords: for whatever is kept or shown."""
    return _SECRET.sub(r"\1://", text)


def _zip_parts(path: StrPath) -> tuple[Path, str] | None:
    """(the local zip, the name inside it) when `path` leads into a zip; the name of the zip itself is ''."""
    text = str(path)
    if text.startswith("zip://"):
        inner, found, outer = text[6:].rpartition("::")
        if not found:
            raise InputError(
                Problem(text, "a zip address needs its file", fix="write zip://inner/name.jpg::photos.zip")
            )
        return _local(outer), inner.strip("/")
    lower = text.lower().replace("\\", "/")
    if "://" in text or ".zip" not in lower:
        return None
    for end in [i + 4 for i in range(len(lower)) if lower.startswith(".zip", i)]:
        if lower[end : end + 1] in ("", "/") and Path(text[:end]).is_file():
            return Path(text[:end]), text[end:].replace("\\", "/").strip("/")
    return None


def _local(path: StrPath) -> Path:
    text = str(path)
    return Path(text[7:]) if text.startswith("file://") else Path(text)


def join(root: StrPath, name: str) -> str:
    """The path of `name` (with forward slashes) inside the folder, zip or address `root`."""
    if not str(root) or "://" in name or Path(name).is_absolute():
        return name
    if is_remote(root):
        return f"{str(root).rstrip('/')}/{name}"
    inside = _zip_parts(root)
    if inside is not None:
        return f"zip://{'/'.join(filter(None, (inside[1], name)))}::{inside[0]}"
    return str(_local(root) / name)


def relative(path: StrPath, root: StrPath) -> str:
    """`path` as seen from the folder `root`, with forward slashes; `path` itself when it lies elsewhere."""
    if is_remote(root) or is_remote(path):
        start = str(root).rstrip("/") + "/"
        return str(path).removeprefix(start)
    inner, outer = _zip_parts(path), _zip_parts(root)
    if inner is not None and outer is not None and inner[0] == outer[0]:
        return inner[1].removeprefix(outer[1]).lstrip("/") if inner[1].startswith(outer[1]) else str(path)
    if inner is None and outer is None and _local(path).is_relative_to(_local(root)):
        return _local(path).relative_to(_local(root)).as_posix()
    return str(path)


# ---- reading -----------------------------------------------------------------------------------------------------


def exists(path: StrPath) -> bool:
    """Is there a file or folder?"""
    inside = _zip_parts(path)
    if inside is not None:
        with _reading(path):
            return inside[0].is_file() and (zips.is_member(*inside) or zips.is_folder(*inside))
    if is_remote(path):
        return bool(_remote_call(path, "exists"))
    try:
        return _local(path).exists()
    except OSError:  # e.g. a name that is too long to be one
        return False


def is_dir(path: StrPath) -> bool:
    """Is it a folder, a zip or a folder in one, or an address with files below it?"""
    inside = _zip_parts(path)
    if inside is not None:
        with _reading(path):
            return inside[0].is_file() and zips.is_folder(*inside)
    return bool(_remote_call(path, "isdir")) if is_remote(path) else _local(path).is_dir()


def list_files(path: StrPath, *, recursive: bool = True) -> list[str]:
    """The files below a folder, zip or address, sorted, each as a path that every function here takes.

    Hidden files (a name or folder that begins with a dot) and macOS' `__MACOSX` are left out.
    Raises InputError when there is no such folder.
    """
    if not is_dir(path):
        raise InputError(Problem(str(path), "there is no such folder", fix="check the path"))
    inside = _zip_parts(path)
    if inside is not None:
        with _reading(path):
            names = zips.names_below(*inside)
    elif is_remote(path):
        names = [_below(str(found), str(path)) for found in _remote_call(path, "find")]
    else:
        names = _list_local(_local(path), recursive)
    wanted = (n for n in names if (recursive or "/" not in n) and not _hidden(n))
    return [join(path, name) for name in sorted(wanted)]


def list_folders(path: StrPath) -> list[str]:
    """The folders below, empty ones too, sorted, as names relative to `path`, hidden ones left out.

    Addresses know only files, and of a zip only the folders that were stored in it are told.
    """
    inside = _zip_parts(path)
    if inside is not None:
        with _reading(path):
            names = zips.folders_below(*inside)
    elif is_remote(path):
        names = []
    else:
        root = _local(path)
        names = [
            p.relative_to(root).as_posix()
            for here, folders, _ in os.walk(root)
            for p in map(Path(here).joinpath, folders)
        ]
    return sorted(name for name in names if not _hidden(name))


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _list_local(folder: Path, recursive: bool) -> list[str]:
    found: list[str] = []
    for here, folders, files in os.walk(folder):
        prefix = "" if here == str(folder) else Path(here).relative_to(folder).as_posix() + "/"
        found.extend(prefix + name for name in files)
        folders[:] = sorted(f for f in folders if not f.startswith(".")) if recursive else []
    return found


def _below(found: str, root: str) -> str:
    """fsspec gives paths without the scheme; the part below the root is what both have in common."""
    bare = root.split("://", 1)[1].strip("/") + "/"
    return found.lstrip("/").removeprefix(bare)


def open_read(path: StrPath) -> IO[bytes]:
    """The file, open for reading bytes, seekable. Raises InputError (missing, not allowed) or StorageError."""
    inside = _zip_parts(path)
    with _reading(path):
        if inside is not None:
            return zips.open_member(*inside)
        if is_remote(path):
            return cast(IO[bytes], _remote_call(path, "open"))
        return _local(path).open("rb")


def read_bytes(path: StrPath, *, limit: int | None = None) -> bytes:
    """The whole file. Raises InputError when it is missing or has more than `limit` bytes."""
    with _reading(path), open_read(path) as file:
        content = file.read() if limit is None else file.read(limit + 1)
    if limit is not None and len(content) > limit:
        raise InputError(
            Problem(str(path), f"the file has more than {limit:,} bytes", "nothing that large is read here")
        )
    return content


def read_json(path: StrPath, *, limit: int | None = None) -> Any:
    """The JSON value in a file. Raises InputError with the line of the first mistake."""
    content = read_bytes(path, limit=limit)
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}"
        raise InputError(Problem(where, f"not valid JSON: {error.msg} (column {error.colno})")) from error
    except UnicodeDecodeError as error:
        raise InputError(Problem(str(path), f"not valid JSON: byte {error.start} is not UTF-8")) from error
    except RecursionError as error:
        raise InputError(Problem(str(path), "not usable JSON: it is nested too deeply")) from error


def read_url(url: str, *, limit: int = 256 << 20, timeout_s: float = 30.0) -> bytes:
    """What a web address holds. Only for verbs whose user asked for the network. Raises InputError."""
    if not url.startswith(("http://", "https://")):
        raise InputError(Problem(url, "not a web address", "http:// or https://"))
    if without_password(url) != url:
        what = "a picture behind a password can't be fetched"
        raise InputError(Problem(without_password(url), what, fix="fetch it yourself"))
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response:
            content: bytes = response.read(limit + 1)
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(
            Problem(url, f"can't be fetched: {reason}", fix="check the address and the network")
        ) from error
    if len(content) > limit:
        raise InputError(Problem(url, f"it has more than {limit:,} bytes"))
    return content


@contextmanager
def _reading(path: StrPath) -> Iterator[None]:
    """Names the file in whatever goes wrong while it is read."""
    try:
        yield
    except _INPUT_PROBLEMS as error:
        raise InputError(_read_problem(path, error)) from error
    except OSError as error:
        raise StorageError(Problem(str(path), f"can't be read: {error.strerror or error}")) from error
    except zips.DAMAGE as error:
        raise InputError(
            Problem(str(path), f"can't be read: {error}", fix="copy it, or make the zip, again")
        ) from error


def _read_problem(path: StrPath, error: OSError) -> Problem:
    if isinstance(error, PermissionError):
        return Problem(str(path), "may not be read (permission denied)", fix="give yourself the right to read it")
    if isinstance(error, IsADirectoryError):
        return Problem(str(path), "is a folder, a file was expected")
    return Problem(str(path), "there is no such file", fix="check the path")


# ---- other places ------------------------------------------------------------------------------------------------


def _remote_call(path: StrPath, method: str, *arguments: Any) -> Any:
    """fsspec's method of that name at the address, with errors in our words."""
    scheme, _, rest = str(path).partition("://")
    if scheme not in EXTRA_OF_SCHEME:
        known = ", ".join(f"{s}://" for s in EXTRA_OF_SCHEME if EXTRA_OF_SCHEME[s])
        raise InputError(
            Problem(str(path), f"addresses of the kind {scheme}:// are not opened here", f"a path, a zip, {known}")
        )
    try:
        system = importlib.import_module("fsspec").filesystem(scheme)
    except ImportError as error:
        raise MissingExtraError(EXTRA_OF_SCHEME[scheme], f"reading and writing {scheme}:// addresses") from error
    with _reading(path):
        return getattr(system, method)(rest, *arguments)


# ---- writing -----------------------------------------------------------------------------------------------------


@contextmanager
def writing(path: StrPath) -> Iterator[None]:
    """Turns what a full disk, a read-only folder or a missing right does inside the block into StorageError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _WRITE_PROBLEMS:
            raise
        raise StorageError(_write_problem(path, error)) from error


def _write_problem(path: StrPath, error: OSError) -> Problem:
    kept = "nothing was changed there"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Problem(
            str(path), "can't be written: the disk is full", kept, "free some space, or choose another folder by --out"
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return Problem(
            str(path), "can't be written: the folder is read-only or not yours", kept, "choose another folder by --out"
        )
    return Problem(str(path), f"can't be written: {error.strerror or error}", kept)


def make_folder(path: StrPath) -> Path:
    """The local folder, made with its parents when it isn't there. Raises StorageError."""
    folder = _local(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise StorageError(Problem(str(path), "a file is where a folder should be made")) from error
    except OSError as error:
        raise StorageError(_write_problem(path, error)) from error
    return folder


def write_atomic(path: StrPath, data: bytes | str) -> None:
    """Writes the whole file or nothing; folders on the way are made. Text is UTF-8. Raises StorageError."""
    content = data.encode() if isinstance(data, str) else data
    if is_remote(path):
        _remote_call(path, "pipe_file", content)
        return
    target = _local(path)
    make_folder(target.parent)
    beside = _beside(target)
    try:
        with writing(path):
            _write_flushed(beside, content)
            os.replace(beside, target)  # noqa: PTH105  (Path.replace is the same call; this says what it does)
    finally:
        with suppress(OSError):  # a read-only disk refuses even to remove what isn't there
            beside.unlink(missing_ok=True)


def _write_flushed(file: Path, content: bytes) -> None:
    with file.open("xb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def write_json(path: StrPath, value: Any) -> None:
    """Writes JSON data, indented, keys in their own order, numpy values as numbers and lists. Raises StorageError.

    A number that is not finite raises ValueError: JSON has none.
    """
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON data")


@contextmanager
def atomic_folder(path: StrPath) -> Iterator[Path]:
    """A fresh folder beside `path` that takes its place when the block ends well, and vanishes when it doesn't.

    A folder that is there already is replaced as a whole, and only at the end. Raises StorageError.
    """
    target = _local(path)
    make_folder(target.parent)
    beside = _beside(target)
    try:
        with writing(path):
            beside.mkdir()
            yield beside
            _flush_files(beside)
            _swap(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _flush_files(folder: Path) -> None:
    for file in (f for f in folder.rglob("*") if f.is_file()):
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())


def _swap(new: Path, target: Path) -> None:
    """Puts `new` where `target` is. A crash in between leaves the old one beside, whole."""
    old = _beside(target)
    if target.is_dir():
        target.rename(old)
    try:
        new.rename(target)
    except OSError:
        if old.is_dir():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _beside(target: Path) -> Path:
    return target.parent / f".{target.name[:100]}.{secrets.token_hex(4)}.tmp"


# ---- places of our own -------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where weights and features are kept: ESPALIER_CACHE, else the system's own place for caches. Not made here."""
    asked = os.environ.get("ESPALIER_CACHE")
    if asked:
        return Path(asked).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "espalier"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "espalier" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "espalier"
