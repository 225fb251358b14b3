"""The scale of a chart: which values it spans, where its ticks are, and where a value lies between 0 and 1."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

SMALLEST = 1e-300  # on a logarithmic axis: the numbers below it have no powers of ten around them


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`; `ticks` are values in between."""

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def at(self, value: float) -> float:
        """0 at `low`, 1 at `high`."""
        if self.log:
            return (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return (value - self.low) / (self.high - self.low)

    def holds(self, value: float) -> bool:
        """Can the value be drawn?"""
        return math.isfinite(value) and (value > SMALLEST or not self.log)


def axis(values: Iterable[float], *, log: bool = False, tight: bool = False, ticks: int = 5) -> Axis:
    """An axis that spans the finite values (with `log`, those above 0); `tight` ends it at them, not at ticks.

    Whole numbers (epochs, steps) get whole ticks.
    """
    found = [v for v in values if math.isfinite(v) and abs(v) < 1e300 and (v > SMALLEST or not log)]
    low, high = (min(found), max(found)) if found else (0.1 if log else 0.0, 1.0)
    return (
        _log_axis(low, high, tight)
        if log
        else _linear_axis(low, high, tight, ticks, whole=tight and all(v == int(v) for v in found))
    )


def _linear_axis(low: float, high: float, tight: bool, count: int, *, whole: bool) -> Axis:
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-12):
        room = abs(low) / 10 or 1.0
        low, high = (low - room, high + room)
        tight = False
    step = nice((high - low) / count)
    step = max(1.0, step) if whole and high - low >= 1 else step
    if not tight:
        low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return Axis(low, high, tuple(round(i * step, 12) for i in range(first, last + 1)))


def _log_axis(low: float, high: float, tight: bool) -> Axis:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    last = last if last > first else first + 1
    if not tight or high <= low * (1 + 1e-9):
        low, high = 10.0**first, 10.0**last
    every = max(1, (last - first) // 5)
    steps = (1, 2, 5) if math.log10(high / low) < 1.5 else (1,)
    found = [m * 10.0**e for e in range(first, last + 1, every) for m in steps]
    return Axis(low, high, tuple(t for t in found if low * (1 - 1e-9) <= t <= high * (1 + 1e-9)), log=True)


def nice(step: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is not below `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next((m * power for m in (1, 2, 2.5, 5) if m * power >= step * (1 - 1e-9)), 10 * power)
