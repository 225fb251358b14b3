"""Why training ends: a signal, the budget, no more progress, or a loss that ran away."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

from espalier.errors import DivergedError, Problem


class StopNow(BaseException):
    """A stop that was asked for inside `StopRequest.at_once`; no `except Exception` on the way may keep it."""


class StopRequest:
    """Ctrl-C or SIGTERM, remembered until the step is finished. A second Ctrl-C stops at once.

    The handler only sets a flag or raises: it may run while any lock is held.
    """

    def __init__(self) -> None:
        self.requested = False
        self._at_once = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Catch the signals inside (only the main thread may); the handlers before are put back afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._caught) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def at_once(self, wanted: bool) -> Iterator[None]:
        """Inside, a signal raises StopNow instead of waiting: for work that can be done again."""
        self._at_once = wanted
        try:
            yield
        finally:
            self._at_once = False

    def _caught(self, number: int, frame: FrameType | None) -> None:
        again, self.requested = self.requested, True
        if self._at_once:
            raise StopNow
        if again and number == signal.SIGINT:
            raise KeyboardInterrupt


@dataclass
class Best:
    """The best validation figure so far and when it was reached."""

    higher_is_better: bool
    value: float | None = None
    epoch: int = 0

    def improves(self, value: float, epoch: int) -> bool:
        """Take `value` if it is better than all before; NaN never is."""
        if math.isnan(value) or (self.value is not None and not self._better(value, self.value)):
            return False
        self.value, self.epoch = value, epoch
        return True

    def stale(self, epoch: int, patience_epochs: int) -> bool:
        """Has it not improved for the patience that was given? 0 is endless patience."""
        return patience_epochs > 0 and epoch - self.epoch >= patience_epochs

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {"value": self.value, "epoch": self.epoch}

    def from_json(self, saved: Mapping[str, Any]) -> None:
        """Go on from what was saved."""
        self.value, self.epoch = saved["value"], int(saved["epoch"])

    def _better(self, a: float, b: float) -> bool:
        return a > b if self.higher_is_better else a < b


FLOOR = 0.05


@dataclass
class Divergence:
    """Watches the loss against the first one seen, which counts as FLOOR at least.

    Training that starts from a fitted head begins near 0, and any step looks like a runaway against that.
    """

    factor: float
    first: float | None = None

    def check(self, loss: float, step: int, kept: str) -> None:
        """Raise DivergedError when the loss is not finite or ran away; `kept` says which checkpoint there is."""
        if not math.isfinite(loss):
            raise DivergedError(self._problem(f"the loss became {loss} at step {step}", kept))
        if self.first is None:
            self.first = max(abs(loss), FLOOR)
        elif abs(loss) > self.factor * self.first:
            raise DivergedError(
                self._problem(f"the loss ran away: {loss:.4g} at step {step}, {self.first:.4g} at the start", kept)
            )

    def _problem(self, what: str, kept: str) -> Problem:
        return Problem(
            "train", what, kept, "try a smaller train.lr, a longer train.warmup_epochs or train.precision=fp32"
        )
