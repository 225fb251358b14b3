"""The newest of what keeps coming, for whoever is slower: what came in between is dropped and counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Newest(Generic[T]):
    """Iterates over the newest item each time. A thread goes on reading, so that the source is never kept waiting.

    Ends with the items, or `stalled` where none comes for `timeout_s`. The thread alone touches `items`: one that
    hangs inside them is left to itself, and ends with the program.
    """

    def __init__(self, items: Iterator[T], *, timeout_s: float) -> None:
        self.dropped = 0
        self.stalled = False
        self._items, self._timeout_s = items, timeout_s
        self._slot: list[T] = []
        self._error: BaseException | None = None
        self._ended = self._unwanted = False
        self._changed = threading.Condition()

    def __iter__(self) -> Iterator[T]:
        threading.Thread(target=self._read, name="espalier-newest", daemon=True).start()
        try:
            while (item := self._take()) is not None:
                yield item[0]
        finally:
            self._unwanted = True

    def _take(self) -> tuple[T] | None:
        with self._changed:
            came = self._changed.wait_for(lambda: bool(self._slot) or self._ended, self._timeout_s)
            if self._slot:
                return (self._slot.pop(),)
            self.stalled = not came
            if self._error is not None:
                raise self._error
            return None

    def _read(self) -> None:
        try:
            for item in self._items:
                if self._unwanted:
                    break
                self._put(item)
        except BaseException as error:  # noqa: BLE001  (not swallowed: raised again where the items are taken)
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _put(self, item: T) -> None:
        with self._changed:
            self.dropped += len(self._slot)
            self._slot[:] = [item]
            self._changed.notify()
