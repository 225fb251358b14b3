"""Worker processes that make batches, or whatever else a maker makes of plans.

They are plain child processes that talk over their own pipes: no fork of this process, no shared memory, no
semaphores, no import of the user's `__main__`, and no PyTorch in them. A child that loses its parent ends by itself.
"""

from __future__ import annotations

import os
import pickle
import queue
import struct
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Generic, TypeVar, cast

import numpy as np

from espalier import errors
from espalier.errors import EspalierError, Problem, WorkError

P = TypeVar("P")
R = TypeVar("R")

AHEAD = 2
"""Batches that each worker has in hand."""


@dataclass(frozen=True)
class Failure:
    """An EspalierError on its way from a worker: the name of its class, and its problems."""

    kind: str
    problems: tuple[Problem, ...]

    def raised(self) -> EspalierError:
        """The error again; extras and other odd constructors become a WorkError with the same words."""
        found = getattr(errors, self.kind, WorkError)
        plain = issubclass(found, EspalierError) and found.__init__ is EspalierError.__init__
        return cast(EspalierError, found(*self.problems)) if plain else WorkError(*self.problems)


class WorkerPool(Generic[P, R]):
    """`workers` processes; `run` gives what `maker` makes in the order of the plans, whichever worker is quicker.

    `maker` travels to the processes by pickle, plans and what is made of them too. `fix` is what to do when a process
    runs out of memory.
    """

    def __init__(self, maker: Callable[[P], R], workers: int, *, fix: str) -> None:
        self._workers: list[_Worker[P, R]] = [_Worker(maker, fix) for _ in range(workers)]

    def run(self, plans: Iterable[P]) -> Iterator[R]:
        """What is made of each plan. Raises the error that a worker met, or WorkError when one died."""
        waiting: deque[_Worker[P, R]] = deque()
        for turn, plan in enumerate(plans):
            if len(waiting) == AHEAD * len(self._workers):
                yield waiting.popleft().result()
            worker = self._workers[turn % len(self._workers)]
            worker.send(plan)
            waiting.append(worker)
        while waiting:
            yield waiting.popleft().result()

    def close(self) -> None:
        """Ends the processes."""
        for worker in self._workers:
            worker.close()


class _Worker(Generic[P, R]):
    """One child process and the thread that empties its pipe."""

    def __init__(self, maker: Callable[[P], R], fix: str) -> None:
        self._fix = fix
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-m", "espalier.data.worker"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0
        )
        self._results: queue.SimpleQueue[R | Failure | None] = queue.SimpleQueue()
        self.send(maker)
        # the thread holds no reference to self, so that a pool that is forgotten ends its children
        self._end = weakref.finalize(self, _end, self._process)
        pipe = cast(IO[bytes], self._process.stdout)
        threading.Thread(target=_listen, args=(pipe, self._results), daemon=True).start()

    def send(self, value: Callable[[P], R] | P) -> None:
        """Hands the child its next piece of work. Raises WorkError when it is gone."""
        try:
            send(cast(IO[bytes], self._process.stdin), value)
        except OSError as error:
            raise self._died() from error

    def result(self) -> R:
        """The next thing made."""
        found = self._results.get()
        if isinstance(found, Failure):
            raise found.raised()
        if found is None:
            raise self._died()
        return found

    def close(self) -> None:
        """Ends the process; what it was doing is lost."""
        self._end()

    def _died(self) -> WorkError:
        code = self._process.wait()
        hint = f"out of memory? {self._fix}" if code == -9 else "its message is above"
        return WorkError(Problem("", f"a process that reads pictures ended with code {code}", fix=hint))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _listen(pipe: IO[bytes], results: queue.SimpleQueue[Any]) -> None:
    """Empties a child's pipe until it ends; then puts None."""
    try:
        while True:
            results.put(receive(pipe))
    except (EOFError, OSError, ValueError):  # the child ended, or close() took the pipe away
        results.put(None)


def send(pipe: IO[bytes], value: Any) -> None:
    """Writes one value; arrays go as their plain bytes after the rest."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts = [buffer.raw() for buffer in buffers]
    sizes = struct.pack(f"<QQ{len(parts)}Q", len(head), len(parts), *(part.nbytes for part in parts))
    for part in (memoryview(sizes), memoryview(head), *parts):
        _write_all(pipe, part)


def receive(pipe: IO[bytes]) -> Any:
    """The next value. Raises EOFError when the other side is gone."""
    head_size, count = struct.unpack("<QQ", _read_exactly(pipe, 16))
    sizes = struct.unpack(f"<{count}Q", _read_exactly(pipe, 8 * count))
    head = _read_exactly(pipe, head_size)
    buffers = [_read_exactly(pipe, size) for size in sizes]
    return pickle.loads(head, buffers=buffers)  # noqa: S301  (from our own child or parent alone)


def _write_all(pipe: IO[bytes], part: memoryview) -> None:
    left = part.cast("B") if part.nbytes else part
    while left.nbytes:
        left = left[pipe.write(left) :]


def _read_exactly(pipe: IO[bytes], size: int) -> memoryview:
    content = memoryview(np.empty(size, np.uint8).data).cast("B")
    done = 0
    while done < size:
        got = pipe.readinto(content[done:])  # type: ignore[attr-defined]  # an unbuffered pipe is a RawIOBase
        if not got:
            raise EOFError
        done += got
    return content
