"""The other end of pool.py: a process that reads plans from its input and writes what is made of them to its output."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import IO, Any

from espalier.data.pool import Failure, receive, send
from espalier.errors import EspalierError


def main() -> None:
    """Serves until the parent closes the pipe. Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _one_thread()
    source = os.fdopen(os.dup(0), "rb", buffering=0)
    sink = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # a stray print must not end up among the batches
    try:
        _serve(source, sink)
    except (EOFError, BrokenPipeError):
        sys.exit(0)


def _one_thread() -> None:
    """OpenCV's own threads would fight with those of the other workers; a machine that only trains may lack OpenCV."""
    with contextlib.suppress(ModuleNotFoundError):
        import cv2

        cv2.setNumThreads(1)


def _serve(source: IO[bytes], sink: IO[bytes]) -> None:
    maker: Callable[[Any], Any] = receive(source)
    while True:
        plan = receive(source)
        try:
            send(sink, maker(plan))
        except EspalierError as error:
            send(sink, Failure(type(error).__name__, error.problems))


if __name__ == "__main__":
    main()
