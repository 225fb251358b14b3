"""How far a long piece of work is, as events that a terminal shows: `corruptions · 12/36 pictures · 1:23 left`."""

from __future__ import annotations

import time

from espalier.runs.run import Run

EVERY_S = 1.0


class Progress:
    """Counts what is done and tells the run, at most once in `every_s` seconds."""

    def __init__(self, run: Run, what: str, total: int, unit: str, *, every_s: float = EVERY_S) -> None:
        self._run, self._what, self._total, self._unit = run, what, total, unit
        self._every_s = every_s
        self._first = self._last = time.monotonic()
        self._done = 0

    def tick(self) -> None:
        """One more is done."""
        self._done += 1
        now = time.monotonic()
        if self._done == 1:  # what came before it was starting up, which says nothing of the others
            self._first = self._last = now
        if now - self._last < self._every_s:
            return
        self._last = now
        left_s = (now - self._first) / (self._done - 1) * (self._total - self._done)
        self._run.emit(
            "progress", what=self._what, done=self._done, total=self._total, unit=self._unit, eta_s=round(left_s, 1)
        )
