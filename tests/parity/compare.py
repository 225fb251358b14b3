"""Our outputs against described and stored ones, by the rule of networks' files."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from parity import rules
from parity.documents import Output
from parity.errors import CheckError
from parity.files import Array
from parity.findings import Finding, differs, holds, within, worst


def compare_output(what: str, ours: Array, described: Output, stored: Array, relative: float) -> Finding:
    """The worst of one output: the stored values, and what the file says of the whole array.

    A wrong value between two stored ones shows in the mean, the spread or the largest.
    """
    values = compare_values(what, ours, described, stored, relative)
    return worst([values, *_of_the_whole(what, ours, described, relative)]) if values.ok else values


def compare_values(what: str, ours: Array, described: Output, stored: Array, relative: float) -> Finding:
    """The worst of the stored values. Raises CheckError for a description in words that this rule doesn't know."""
    if described.stored not in ("all", "sample") or described.rule is not None:
        raise CheckError(f"outputs.{what}: stored '{described.stored}', rule '{described.rule}': unknown wording")
    if ours.shape != described.shape:
        return differs(what, f"shape {ours.shape}, not {described.shape}")
    picked = ours if described.stored == "all" else rules.sample(ours, described.n)
    if np.issubdtype(stored.dtype, np.integer):
        return holds(what) if np.array_equal(picked, stored) else differs(what, "integers differ")
    return within(what, picked, stored, _limit(what, described, relative))


def _of_the_whole(what: str, ours: Array, described: Output, relative: float) -> list[Finding]:
    """Where every value is within the tolerance, these are within it too."""
    exact = ours.astype(np.float64)
    known: dict[str, tuple[ArrayLike, ArrayLike | None]] = {
        "mean": (exact.mean(), described.mean),
        "std": (exact.std(), described.std),
        "absmax": (np.abs(exact).max(), described.absmax),
        "first": (exact.reshape(-1)[: len(described.first)], described.first),
    }
    limit = _limit(what, described, relative)
    return [within(f"{what} ({name})", own, told, limit) for name, (own, told) in known.items() if told is not None]


def _limit(what: str, described: Output, relative: float) -> float:
    if described.absmax is None:
        raise CheckError(f"outputs.{what}.absmax is missing")
    return relative * max(1e-3, described.absmax)
