"""What one comparison found."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Finding:
    """One comparison: of what, its error over the tolerance (1 is the limit), and what a reader should know of it."""

    what: str
    ratio: float
    note: str = ""

    @property
    def ok(self) -> bool:
        """Within the tolerance; not a number never is."""
        return self.ratio <= 1


def holds(what: str) -> Finding:
    """A yes-or-no question that was answered with yes."""
    return Finding(what, 0.0)


def differs(what: str, note: str) -> Finding:
    """A yes-or-no question that was answered with no."""
    return Finding(what, math.inf, note)


def within(what: str, ours: ArrayLike, stored: ArrayLike, limit: float) -> Finding:
    """The largest difference over `limit`; arrays of different shapes differ."""
    ours_, stored_ = np.asarray(ours, np.float64), np.asarray(stored, np.float64)
    if ours_.shape != stored_.shape:
        return differs(what, f"shape {ours_.shape}, not {stored_.shape}")
    error = float(np.abs(ours_ - stored_).max(initial=0.0))
    return Finding(what, error / limit, f"off by {error:.3g}, allowed {limit:.3g}")


def worst(findings: list[Finding]) -> Finding:
    """The finding that is furthest from fine; one that is not a number is the furthest."""
    return max(findings, key=lambda finding: math.inf if math.isnan(finding.ratio) else finding.ratio)
