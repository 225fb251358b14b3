"""The folder that an action writes: spec.yaml, run.json, events.jsonl and whatever the action makes in it."""

from __future__ import annotations

import importlib
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from espalier import storage
from espalier.blocks import Block, to_json
from espalier.errors import (
    EspalierError,
    InterruptedByUser,
    ModelError,
    Problem,
    RunExistsError,
    SpecError,
    StorageError,
    UsageError,
)
from espalier.runs import events, record, thumbnails
from espalier.runs.events import Event, EventLog, plain
from espalier.runs.metrics import write_metrics
from espalier.runs.record import RunRecord, State

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class Decided(Protocol):
    """A value that `resolve` filled in (`espalier.spec.resolve.Decision`)."""

    @property
    def field(self) -> str: ...
    @property
    def asked(self) -> Any: ...
    @property
    def chosen(self) -> Any: ...
    @property
    def reason(self) -> str: ...


class Run:
    """A run folder, open for writing. As a context manager it records how the work ended.

    `listeners` are called with every event after it was written; the command line's console is one.
    `kept` is False for `Run.nowhere()`, whose folder goes away with it.
    """

    def __init__(self, path: Path, found: RunRecord) -> None:
        self.path = path
        self.record = found
        self.listeners: list[Callable[[Event], None]] = []
        self.kept = True
        self._log = EventLog(path / events.NAME)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def create(
        cls, name: str, *, out: Path | None = None, root: Path = Path("runs"), action: str, resume: bool = False
    ) -> Self:
        """A run in `out`, or in the next free `root/<name>-<NNN>`; with `resume` the one in `out` goes on.

        Raises RunExistsError when `out` is not empty and `resume` is False; UsageError for a `resume` without `out`
        or of another action; StorageError when the folder can't be made.
        """
        if resume and out is None:
            raise UsageError(
                Problem("", "--resume needs the run to go on with", fix=f"add --out {root / (name + '-001')}")
            )
        if resume and out is not None and _has_content(out):
            return cls._again(out, action)
        path = _next_folder(_checked_name(name), root) if out is None else _new_folder(out)
        found = RunRecord(
            action=action, name=name, started=record.now(), versions=record.versions(), hardware=record.hardware()
        )
        run = cls(path, found)
        run._write_record()
        run.emit("start", action=action, name=name)
        return run

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """The run in that folder. Nothing is written until something is emitted. Raises ModelError."""
        return cls(Path(path), record.read_record(Path(path)))

    @classmethod
    def nowhere(cls, action: str = "") -> Self:
        """A run for verbs that write none: a temporary folder that is removed when the run is closed."""
        temporary = tempfile.TemporaryDirectory(prefix="espalier-", ignore_cleanup_errors=True)
        run = cls(Path(temporary.name), RunRecord(action=action, name=action, started=record.now()))
        run._temporary = temporary
        run.kept = False
        return run

    @classmethod
    def _again(cls, out: Path, action: str) -> Self:
        run = cls.open(out)
        if run.record.action != action:
            what = f"is a run of '{run.record.action}', not of '{action}'"
            fix = f"resume it with 'espalier {run.record.action}', or choose another --out"
            raise UsageError(Problem(str(out), what, fix=fix))
        run._update(state="running", ended=None, error=None, resumed=run.record.resumed + 1, versions=record.versions())
        return run

    @property
    def state(self) -> State:
        """running, done, failed or interrupted."""
        return self.record.state

    def emit(self, kind: str, /, **data: Any) -> None:
        """One event, on disk before this returns. NaN and infinities become null. Raises StorageError."""
        event = self._log.append(kind, data)
        for listener in self.listeners:
            listener(event)

    def block(self, section: str, block: Block) -> None:
        """Something to show on the report; a later block of the same section, kind and title takes its place."""
        self.emit("block", section=section, block=to_json(block))

    def say(self, text: str) -> None:
        """A line for people."""
        self.emit("say", text=text)

    def warn(self, text: str) -> None:
        """A line for people about something they may want to change."""
        self.emit("warning", text=text)

    def decisions(self, decisions: Iterable[Decided]) -> None:
        """What `resolve` chose: an event each, and all in run.json (a later one for a field takes its place)."""
        kept = {item["field"]: item for item in self.record.decisions if "field" in item}
        for decision in decisions:
            item = plain(
                {
                    "field": decision.field,
                    "asked": decision.asked,
                    "chosen": decision.chosen,
                    "reason": decision.reason,
                }
            )
            kept[decision.field] = item
            self.emit("decision", **item)
        self._update(decisions=list(kept.values()))

    def note(
        self,
        *,
        seed: int | None = None,
        data: Mapping[str, Any] | None = None,
        hardware: Mapping[str, Any] | None = None,
        parent: str | None = None,
    ) -> None:
        """Facts for run.json; `data` and `hardware` are added to what is known."""
        now = self.record
        self._update(
            seed=now.seed if seed is None else seed,
            data=now.data | plain(data or {}),
            hardware=now.hardware | plain(hardware or {}),
            parent=now.parent if parent is None else parent,
        )

    def write_spec(self, yaml: str) -> None:
        """The resolved spec, as spec.yaml; a run is often shown to others, so passwords in addresses are left out."""
        storage.write_atomic(self.path / "spec.yaml", storage.without_password(yaml))

    def folder(self, *parts: str) -> Path:
        """A folder inside the run, made when it is not there."""
        return storage.make_folder(self.path.joinpath(*parts))

    def picture(self, name: str, image_HWC: NDArray[Any], *, longest_px: int = 320) -> str:
        """A small JPEG `pictures/<name>.jpg` of a uint8 or uint16 picture; the path for a `Picture` block."""
        content = thumbnails.jpeg(image_HWC, longest_px=longest_px)
        storage.write_atomic(self.path / "pictures" / f"{name}.jpg", content)
        return f"pictures/{name}.jpg"

    def events(self) -> Iterator[Event]:
        """The events so far."""
        return events.read_events(self._log.path)

    def event_offset(self) -> int:
        """Bytes of events so far, for a checkpoint to record."""
        return self._log.offset()

    def cut_events(self, offset: int) -> None:
        """Forgets what happened after a checkpoint that recorded `offset`. Raises ModelError for a foreign offset."""
        self._log.cut(offset)
        self.emit("resumed", offset=offset)

    def finish(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """The result, after run.json and metrics.csv hold it."""
        done: dict[str, Any] = plain(result)
        self._end("done", result=done)
        if self.kept:
            write_metrics(self.path)
        if (self.path / "report.html").exists():  # written by the action while the run was not finished
            importlib.import_module("espalier.runs.report").write_report(self.path)
        return done

    def fail(self, error: BaseException) -> None:
        """Records that the work failed, or was interrupted, and why."""
        stopped = isinstance(error, (KeyboardInterrupt, InterruptedByUser))
        text = str(error) if isinstance(error, EspalierError) else f"{type(error).__name__}: {error}".rstrip(": ")
        self._end("interrupted" if stopped else "failed", error=text)

    def close(self) -> None:
        """Lets go of the files; a run from `nowhere` is removed."""
        self._log.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self.fail(error)
            elif self.state == "running":
                self.finish(self.record.result)
        except StorageError as second:
            if error is None:
                raise
            error.add_note(f"and the run's record could not be written: {second}")
        finally:
            self.close()

    def _end(self, state: State, *, result: dict[str, Any] | None = None, error: str | None = None) -> None:
        self._update(state=state, ended=record.now(), error=error, result=result or self.record.result)
        self.emit("end", state=state, error=error)

    def _update(self, **fields: Any) -> None:
        self.record = self.record.model_copy(update=fields)
        self._write_record()

    def _write_record(self) -> None:
        storage.write_json(self.path / record.NAME, self.record.model_dump(mode="json"))


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        expected = "letters, digits, '_', '-' and '.', at most 100, not starting with '-' or '.'"
        raise SpecError(Problem("name", f"'{name}' can't be a folder's name", expected))
    return name


def _has_content(path: Path) -> bool:
    try:
        return path.exists() and (not path.is_dir() or any(path.iterdir()))
    except OSError as error:
        raise ModelError(Problem(str(path), f"can't be read: {error.strerror or error}")) from error


def _new_folder(out: Path) -> Path:
    if _has_content(out):
        what = "exists and is not empty" if out.is_dir() else "is a file"
        can_go_on = (out / "checkpoints").is_dir()
        again = ", or add --resume to go on with a run that was interrupted" if can_go_on else ""
        raise RunExistsError(Problem(str(out), what, fix=f"choose another --out{again}"))
    storage.make_folder(out)
    return out


def _next_folder(name: str, root: Path) -> Path:
    """The next free `<name>-<NNN>`, made; two processes never get the same one."""
    storage.make_folder(root)
    pattern = re.compile(re.escape(name) + r"-(\d{3,9})")
    number = max((int(m[1]) for p in root.iterdir() if (m := pattern.fullmatch(p.name))), default=0)
    while True:
        number += 1
        path = root / f"{name}-{number:03d}"
        try:
            with storage.writing(path):
                path.mkdir()
        except FileExistsError:
            continue
        return path
