"""How far two sets of named arrays are apart: the one measure that export is gated on and bundles are verified by."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
"""Named arrays, batch first."""

Match = Callable[[Arrays, Arrays], Arrays]
"""Outputs a and b → b with its rows in a's order, for networks whose rows may permute (a card's `match_outputs`)."""

FLOOR = 1e-3
"""Outputs smaller than this are compared as if they were this large: near zero there is only noise."""


def max_error(a: NDArray[Any], b: NDArray[Any]) -> float:
    """max|a-b| / max(1e-3, max|a|); inf where the shapes differ, or where only one of the two is not finite."""
    if a.shape != b.shape:
        return math.inf
    if a.size == 0:
        return 0.0
    wide_a, wide_b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    finite = np.isfinite(wide_a)
    if not np.array_equal(finite, np.isfinite(wide_b)):
        return math.inf
    odd = ~finite
    if odd.any() and not np.array_equal(wide_a[odd], wide_b[odd], equal_nan=True):
        return math.inf
    if not finite.any():
        return 0.0
    difference = np.abs(wide_a[finite] - wide_b[finite]).max()
    return float(difference / max(FLOOR, np.abs(wide_a[finite]).max()))


def errors(a: Arrays, b: Arrays) -> dict[str, float]:
    """`max_error` of each name; inf for a name that only one side has."""
    return {name: max_error(a[name], b[name]) if name in a and name in b else math.inf for name in sorted({*a, *b})}


def merge(worst: Mapping[str, float], more: Mapping[str, float]) -> dict[str, float]:
    """The larger error of each name."""
    return {name: max(worst.get(name, 0.0), more.get(name, 0.0)) for name in sorted({*worst, *more})}


@dataclass(frozen=True)
class Difference:
    """Where two JSON values part: `path` is like `[0].score`."""

    path: str
    expected: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.path or 'value'}: expected {self.expected!r}, found {self.found!r}"


def json_difference(expected: Any, found: Any, *, tolerance: float, path: str = "") -> Difference | None:
    """The first place where `found` is not `expected`; numbers may differ by `tolerance` × max(1, |expected|)."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        return _mapping_difference(expected, found, tolerance, path)
    if _is_list(expected) and _is_list(found):
        if len(expected) != len(found):
            return Difference(f"{path}.length", len(expected), len(found))
        pairs = enumerate(zip(expected, found))
        return _first(json_difference(e, f, tolerance=tolerance, path=f"{path}[{i}]") for i, (e, f) in pairs)
    if _is_number(expected) and _is_number(found):
        close = math.isclose(expected, found, rel_tol=tolerance, abs_tol=tolerance)
        return None if close else Difference(path, expected, found)
    return None if type(expected) is type(found) and expected == found else Difference(path, expected, found)


def _mapping_difference(
    expected: Mapping[str, Any], found: Mapping[str, Any], tolerance: float, path: str
) -> Difference | None:
    if expected.keys() != found.keys():
        return Difference(f"{path}.keys", sorted(expected), sorted(found))
    parts = (json_difference(expected[k], found[k], tolerance=tolerance, path=f"{path}.{k}") for k in expected)
    return _first(parts)


def _first(differences: Any) -> Difference | None:
    return next((d for d in differences if d is not None), None)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
