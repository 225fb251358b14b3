"""events.jsonl, the truth about a run: one JSON object a line, each whole on disk before the work goes on."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from espalier import storage
from espalier.errors import ModelError, Problem, StorageError

NAME = "events.jsonl"
Event = dict[str, Any]
"""`kind`, `t` (seconds since 1970) and whatever belongs to that kind."""


def plain(value: Any) -> Any:
    """The value as JSON data: NaN and infinities become None; arrays lists; dataclasses objects; paths text.

    What is not Unicode in a text (lone surrogates of a file name) is written as a `\\udc80` escape.
    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (Sequence, Set)) and not isinstance(value, (bytes, bytearray)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return plain(value.tolist())
    if isinstance(value, PurePath):
        return plain(value.as_posix())
    raise TypeError(f"{type(value).__name__} is not JSON data")


class EventLog:
    """The file of one run, written by appending. Safe to call from several threads of one process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None

    def append(self, kind: str, data: Mapping[str, Any]) -> Event:
        """The event as it was written. Raises StorageError, and then the file ends where it ended before."""
        event: Event = {"kind": kind, "t": round(time.time(), 3), **plain(data)}
        text = json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        with self._lock:
            self._write(text.encode() + b"\n")
        return event

    def offset(self) -> int:
        """Bytes written so far, safe on disk: where a checkpoint's part of the story ends."""
        with self._lock:
            file = self._opened()
            os.fsync(file.fileno())
            return file.seek(0, os.SEEK_END)

    def cut(self, offset: int) -> None:
        """The file ends at `offset`. Raises ModelError when that is not the end of a line in it."""
        with self._lock:
            file = self._opened()
            end = file.seek(0, os.SEEK_END)
            if not 0 <= offset <= end or (offset and self._byte(offset - 1) != b"\n"):
                raise ModelError(
                    Problem(
                        str(self.path),
                        f"byte {offset} is not the end of an event (the file has {end} bytes)",
                        "the offset that a checkpoint of this run recorded",
                        "resume the run that the checkpoint belongs to",
                    )
                )
            file.truncate(offset)

    def close(self) -> None:
        """Lets go of the file; a later append opens it again."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _opened(self) -> BinaryIO:
        if self._file is None:
            with storage.writing(self.path):
                self._file = self.path.open("ab", buffering=0)
                self._file.truncate(_whole_bytes(self.path))
        return self._file

    def _write(self, line: bytes) -> None:
        file = self._opened()
        before = file.seek(0, os.SEEK_END)
        left = memoryview(line)
        try:
            with storage.writing(self.path):
                while left:
                    left = left[file.write(left) :]
        except StorageError:
            file.truncate(before)
            raise

    def _byte(self, index: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(index)
            return file.read(1)


def read_events(path: Path) -> Iterator[Event]:
    """The events of a file, in order. A torn last line (the process was killed while writing it) is left out.

    Raises ModelError for a line that is not an event, and for a file that can't be read. No file: no events.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield _parse(path, number, line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ModelError(Problem(str(path), f"can't be read: {error.strerror or error}")) from error


def _parse(path: Path, number: int, line: bytes) -> Event:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict) or not isinstance(event.get("kind"), str):
        raise ModelError(
            Problem(
                f"{path}:{number}",
                "is not an event",
                "one JSON object with its 'kind' on each line",
                "the file was changed or damaged; delete that line to read the rest",
            )
        )
    return event


def _whole_bytes(path: Path) -> int:
    """Where the last whole line ends."""
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        while position > 0:
            start = max(0, position - 65536)
            file.seek(start)
            found = file.read(position - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            position = start
    return 0
