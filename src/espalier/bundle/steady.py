"""Rows that stand on a knife's edge: there the model's own answer jumps when its input changes by a millionth.

A detector that picks its queries among tokens of nearly equal scores is one: two right runtimes may pick others. What
such a row says where two runtimes differ is nothing; where they agree it proves as much as any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.bundle.compare import Arrays, Match, errors

NOISE = 1e-6
"""Of the largest |input|: a few roundings of float32, which another order of sums brings about as well."""

_TRIES = 16
"""Of which the first that finds all rows unsteady is the last: at an even chance 4 would miss one row in 16."""

Run = Callable[[Arrays], Arrays]
"""Inputs → raw outputs, as a Backend's `run`."""


def edge_rows(
    inputs: Arrays, expected: Arrays, found: Arrays, tolerance: float, *, run: Run, said: Arrays, match: Match | None
) -> NDArray[np.bool_]:
    """Rows (B,) of `found` that are outside the tolerance and on a knife's edge for `run`, which had `said` so.

    `run` is asked again only where something is outside. A row that `run` holds to within the tolerance is never one.
    """
    if within(errors(expected, found), tolerance):
        return np.zeros(_count(inputs), np.bool_)
    outside_B = outside_rows(inputs, expected, found, tolerance)
    return unsteady_rows(inputs, outside_B, tolerance, run=run, said=said, match=match)


def unsteady_rows(
    inputs: Arrays,
    asked_B: NDArray[np.bool_],
    tolerance: float,
    *,
    run: Run,
    said: Arrays,
    match: Match | None,
    tries: int = _TRIES,
) -> NDArray[np.bool_]:
    """Which of the rows that are asked about (B,) change by more than the tolerance under noise."""
    found_B = np.zeros_like(asked_B)
    for seed in range(tries):
        again = run(_shaken(inputs, seed))
        found_B |= asked_B & outside_rows(inputs, said, match(said, again) if match else again, tolerance)
        if np.array_equal(found_B, asked_B):
            break
    return found_B


def outside_rows(inputs: Arrays, a: Arrays, b: Arrays, tolerance: float) -> NDArray[np.bool_]:
    """Rows (B,) in which b differs from a by more than the tolerance, each beside its own largest value."""
    rows = range(_count(inputs))
    return np.array([not within(errors(_only(a, [row]), _only(b, [row])), tolerance) for row in rows], np.bool_)


def within(error: Mapping[str, float], tolerance: float) -> bool:
    """Every error within the tolerance? (NaN is not.)"""
    return all(value <= tolerance for value in error.values())


def errors_of(kept_B: NDArray[np.bool_], a: Arrays, b: Arrays) -> dict[str, float]:
    """`errors` of some rows alone; of all of them where all are kept, whatever shapes they have."""
    if kept_B.all():
        return errors(a, b)
    rows = np.flatnonzero(kept_B).tolist()
    return errors(_only(a, rows), _only(b, rows))


def edge_words(unsteady: int, count: int) -> str:
    """`unsteady` of `count` inputs as a sentence; empty where there are none."""
    if not unsteady:
        return ""
    what = f"{unsteady} of {count} inputs {'stands' if unsteady == 1 else 'stand'} on a knife's edge"
    return (
        f"{what}: the model itself changes its answer by more than the tolerance when its input changes by a millionth"
    )


def _count(inputs: Arrays) -> int:
    return len(next(iter(inputs.values())))


def _only(arrays: Arrays, rows: list[int]) -> dict[str, NDArray[Any]]:
    """Those rows; an array that lacks one is left as it is, and then differs in shape."""
    return {name: array[rows] if array.ndim and max(rows, default=0) < len(array) else array
            for name, array in arrays.items()}  # fmt: skip


def _shaken(inputs: Arrays, seed: int) -> dict[str, NDArray[Any]]:
    """The inputs with noise on those that are floating."""
    rng = np.random.default_rng(seed)
    return {name: array + _noise(array, rng) if array.dtype.kind == "f" and array.size else array
            for name, array in inputs.items()}  # fmt: skip


def _noise(array: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    size = NOISE * float(np.abs(array).max())
    return (size * rng.standard_normal(array.shape)).astype(array.dtype)
