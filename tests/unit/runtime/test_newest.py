"""The newest of what keeps coming."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from espalier.runtime.newest import Newest


def test_what_came_in_between_is_dropped_and_counted() -> None:
    taken, ended = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 0
        taken.wait(5)
        yield from (1, 2, 3)
        ended.set()

    newest, found = Newest(items(), timeout_s=5), []
    for item in newest:
        found.append(item)
        taken.set()
        ended.wait(5)
    assert found == [0, 3]
    assert newest.dropped == 2
    assert not newest.stalled


def test_the_last_one_is_never_dropped_and_errors_come_after_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    newest = iter(Newest(items(), timeout_s=5))
    assert next(newest) == 1
    with pytest.raises(ValueError, match="broken"):
        next(newest)


def test_it_ends_where_nothing_comes() -> None:
    stopped = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        stopped.wait(10)

    newest = Newest(items(), timeout_s=0.5)
    start = time.monotonic()
    assert list(newest) == [1]
    assert newest.stalled
    assert time.monotonic() - start < 5
    stopped.set()
