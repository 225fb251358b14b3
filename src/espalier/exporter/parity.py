"""Do two backends say the same? Raw outputs against raw outputs, over batches of several sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from espalier.blocks import Table
from espalier.bundle.compare import Arrays, Match, errors, max_error, merge
from espalier.errors import ParityError, Problem
from espalier.runtime.backend import Backend

__all__ = ["Match", "ParityReport", "check_parity", "compare_outputs", "max_error"]


@dataclass(frozen=True)
class ParityReport:
    """The largest error of each raw output, and on what it was measured."""

    tolerance: float
    error: Mapping[str, float]
    batches: tuple[int, ...]
    sizes_hw: tuple[tuple[int, int], ...]
    items: int

    @property
    def passed(self) -> bool:
        """Every output within the tolerance, and at least one batch compared?"""
        return self.items > 0 and all(value <= self.tolerance for value in self.error.values())

    @property
    def worst(self) -> float:
        """The largest error of all outputs."""
        return max(self.error.values(), default=0.0)

    def __add__(self, other: ParityReport) -> ParityReport:
        """Both reports as one."""
        return ParityReport(
            min(self.tolerance, other.tolerance),
            merge(self.error, other.error),
            tuple(sorted({*self.batches, *other.batches})),
            tuple(sorted({*self.sizes_hw, *other.sizes_hw})),
            self.items + other.items,
        )

    def raise_if_failed(self, where: str) -> None:
        """Raises ParityError that names every output outside the tolerance."""
        allowed = f"at most {self.tolerance:g}, by max|a-b| / max(1e-3, max|a|)"
        fix = "nothing was written; if the network's numbers are large, raise export.tolerance knowingly"
        bad = [
            Problem(f"{where}: output '{name}'", f"differs from the model by {value:.3g}", allowed, fix)
            for name, value in self.error.items()
            if not value <= self.tolerance
        ]
        if bad or not self.items:
            raise ParityError(*(bad or [Problem(where, "nothing was compared", "at least one input")]))

    def block(self) -> Table:
        """The report as a table for the page."""
        rows = [(name, f"{value:.2g}", f"{self.tolerance:.2g}", "passed" if value <= self.tolerance else "FAILED")
                for name, value in self.error.items()]  # fmt: skip
        sizes = ", ".join(f"{h}×{w}" for h, w in self.sizes_hw)
        note = f"{self.items} inputs, in batches of {', '.join(map(str, self.batches))}, at {sizes} px"
        return Table(
            "The exported graph against the model", ("output", "max|a-b| / max|a|", "allowed", "result"), rows, note
        )


def check_parity(
    backend_a: Backend,
    backend_b: Backend,
    inputs: Iterable[Arrays],
    tolerance: float,
    match: Match | None = None,
) -> ParityReport:
    """`backend_b` against `backend_a` on each batch of `inputs`; `match` brings b's rows into a's order first."""
    report = ParityReport(tolerance, {}, (), (), 0)
    for batch in inputs:
        report += compare_outputs(batch, backend_a.run(batch), backend_b.run(batch), tolerance, match)
    return report


def compare_outputs(
    inputs: Arrays, expected: Arrays, found: Arrays, tolerance: float, match: Match | None
) -> ParityReport:
    """The report of one batch whose outputs are at hand."""
    error = errors(expected, match(expected, found) if match else found)
    return ParityReport(tolerance, error, (_count(inputs),), _sizes(inputs), _count(inputs))


def _count(batch: Arrays) -> int:
    return len(next(iter(batch.values())))


def _sizes(batch: Arrays) -> tuple[tuple[int, int], ...]:
    return tuple(sorted({(a.shape[2], a.shape[3]) for a in batch.values() if a.ndim == 4}))
