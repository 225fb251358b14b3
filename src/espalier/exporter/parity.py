"""Do two backends say the same? Raw outputs against raw outputs, over batches of several sizes.

An item where they differ and where the model itself stands on a knife's edge (bundle.steady) says nothing about the
graph: it is left out and counted. One that the model holds is an error, always.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from espalier.blocks import Table
from espalier.bundle.compare import Arrays, Match, max_error, merge
from espalier.bundle.steady import edge_rows, edge_words, errors_of, within
from espalier.errors import ParityError, Problem
from espalier.runtime.backend import Backend

__all__ = ["Match", "ParityReport", "Trials", "check_parity", "check_trials", "compare_outputs", "max_error"]

LEAST_HELD = 0.25
"""Of the items: a proof on fewer says little of the pictures, even where the graph is right."""

Trials = Iterable[Iterable[Arrays]]
"""What must be proven, each by the first of its batches that has an item which can be held to the tolerance."""


@dataclass(frozen=True)
class ParityReport:
    """The largest error of each raw output, on what it was measured, and how many further items said nothing."""

    tolerance: float
    error: Mapping[str, float]
    batches: tuple[int, ...]
    sizes_hw: tuple[tuple[int, int], ...]
    items: int
    unsteady: int = 0

    @property
    def passed(self) -> bool:
        """Every output within the tolerance, and enough items compared?"""
        return self.enough and within(self.error, self.tolerance)

    @property
    def enough(self) -> bool:
        """At least one item compared, and not too few of those that were asked?"""
        return self.items > 0 and self.items >= LEAST_HELD * (self.items + self.unsteady)

    @property
    def edge_words(self) -> str:
        """The items that said nothing, as a sentence; empty where there are none."""
        return edge_words(self.unsteady, self.items + self.unsteady)

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
            self.unsteady + other.unsteady,
        )

    def raise_if_failed(self, where: str) -> None:
        """Raises ParityError that names every output outside the tolerance, or that too little could be compared."""
        allowed = f"at most {self.tolerance:g}, by max|a-b| / max(1e-3, max|a|)"
        fix = "nothing was written; if the network's numbers are large, raise export.tolerance knowingly"
        bad = [
            Problem(f"{where}: output '{name}'", f"differs from the model by {value:.3g}", allowed, fix)
            for name, value in self.error.items()
            if not value <= self.tolerance
        ]
        if bad or not self.enough:
            raise ParityError(*(bad or [self._too_few(where)]))

    def _asked(self) -> str:
        sizes = ", ".join(f"{h}×{w}" for h, w in self.sizes_hw)
        return f"in batches of {', '.join(map(str, self.batches))}, at {sizes} px"

    def _too_few(self, where: str) -> Problem:
        if not self.unsteady:
            return Problem(where, "nothing was compared", "at least one input")
        fix = "nothing was written; train it longer: on such a model a wrong graph can't be told from a right one"
        return Problem(
            where, f"{self._asked()}: {self.edge_words}", f"at least {LEAST_HELD:.0%} that can be compared", fix
        )

    def block(self) -> Table:
        """The report as a table for the page."""
        rows = [(name, f"{value:.2g}", f"{self.tolerance:.2g}", "passed" if value <= self.tolerance else "FAILED")
                for name, value in self.error.items()]  # fmt: skip
        note = f"{self.items} inputs, {self._asked()}"
        note += f"; {self.edge_words}" if self.unsteady else ""
        return Table(
            "The exported graph against the model", ("output", "max|a-b| / max|a|", "allowed", "result"), rows, note
        )


def check_parity(
    reference: Backend,
    other: Backend,
    inputs: Iterable[Arrays],
    tolerance: float,
    match: Match | None = None,
) -> ParityReport:
    """`other` against `reference` on each batch of `inputs`; `match` brings the other's rows into order first."""
    report = ParityReport(tolerance, {}, (), (), 0)
    for batch in inputs:
        report += compare_outputs(reference, batch, reference.run(batch), other.run(batch), tolerance, match)
    return report


def check_trials(
    reference: Backend, other: Backend, trials: Trials, tolerance: float, match: Match | None, where: str
) -> ParityReport:
    """`other` against `reference` on each of the trials. Raises ParityError where one of them can't be judged."""
    report = ParityReport(tolerance, {}, (), (), 0)
    for batches in trials:
        own = ParityReport(tolerance, {}, (), (), 0)
        for batch in batches:
            own += check_parity(reference, other, [batch], tolerance, match)
            if own.items:
                break
        else:
            own.raise_if_failed(where)
        report += own
    return report


def compare_outputs(
    reference: Backend, inputs: Arrays, expected: Arrays, found: Arrays, tolerance: float, match: Match | None
) -> ParityReport:
    """The report of one batch whose outputs are at hand; `reference` is asked again where they differ."""
    ordered = match(expected, found) if match else found
    edge_B = edge_rows(inputs, expected, ordered, tolerance, run=reference.run, said=expected, match=match)
    unsteady, count = int(edge_B.sum()), _count(inputs)
    error = errors_of(~edge_B, expected, ordered) if unsteady < count else {}
    return ParityReport(tolerance, error, (count,), _sizes(inputs), count - unsteady, unsteady)


def _count(batch: Arrays) -> int:
    return len(next(iter(batch.values())))


def _sizes(batch: Arrays) -> tuple[tuple[int, int], ...]:
    return tuple(sorted({(a.shape[2], a.shape[3]) for a in batch.values() if a.ndim == 4}))
