"""Numbers for people: as many digits as say something, the sign of the minus, the per cent sign with its space."""

from __future__ import annotations

import math
from collections.abc import Sequence

from espalier.blocks import Figure

NARROW = "\u202f"  # a space that does not break


def value(number: float, unit: str = "") -> str:
    """`86.1 %` for 0.861 with unit "%", `+4.4 points` for 0.044 with "points"; otherwise some four digits and the unit.

    An en dash when it is not finite.
    """
    if not math.isfinite(number):
        return "–"
    if unit == "%":
        return f"{minus(f'{100 * number:.1f}')}{NARROW}%"
    if unit == "points":
        return f"{minus(f'{100 * number:+.1f}')}{NARROW}points"
    return minus(digits(number)) + (f"{NARROW}{unit}" if unit else "")


def interval(figure: Figure) -> str:
    """`84.0–90.1 %`, or '' when the figure has none."""
    low, high = figure.low, figure.high
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    between = " to " if low < 0 or figure.unit == "points" else "–"
    start = value(low, figure.unit).split(NARROW)[0]
    return f"{start}{between}{value(high, figure.unit)}"


def digits(number: float) -> str:
    """Whole numbers in full with thousands marked; others with three or four digits."""
    if number == int(number) and abs(number) < 1e15:
        return f"{int(number):,}"
    size = abs(number)
    if size < 1 or size >= 1e6:
        return f"{number:.3g}"
    decimals = 2 if size < 10 else 1 if size < 1000 else 0
    return f"{number:,.{decimals}f}"


def ticks(numbers: Sequence[float]) -> list[str]:
    """An axis' numbers in one manner: `0`, `5k`, `10k`; `0.0002`, `0.0004`; `2e-6`, `4e-6`."""
    largest = max((abs(n) for n in numbers), default=0.0)
    smallest = min((abs(n) for n in numbers if n), default=1.0)
    if largest >= 1e9 or smallest < 1e-5:
        return [minus(_power(n)) for n in numbers]
    for unit, factor, start in (("M", 1e6, 1e6), ("k", 1e3, 1e4)):
        if largest >= start and smallest >= factor / 10:
            return [minus(f"{n / factor:g}{unit}") if n else "0" for n in numbers]
    return [minus(f"{n:.6f}".rstrip("0").rstrip(".")) for n in numbers]


def _power(number: float) -> str:
    if not number:
        return "0"
    digits, _, power = f"{number:.1e}".partition("e")
    return f"{digits.removesuffix('.0')}e{int(power)}"


def minus(text: str) -> str:
    """The text with a real minus sign."""
    return f"−{text[1:]}" if text.startswith("-") else text


def column_decimals(numbers: Sequence[float]) -> int | None:
    """Decimals that suit a column of a table, the same for all its rows; None when each needs its own."""
    sizes = [abs(n) for n in numbers if math.isfinite(n)]
    if not sizes or all(size == int(size) for size in sizes):
        return 0
    largest, smallest = max(sizes), min(size for size in sizes if size)
    if smallest < 0.01 or smallest < largest / 1e4:
        return None
    return 3 if largest < 10 else 2 if largest < 100 else 1 if largest < 1000 else 0
