"""The proof that a bundle on this machine still says what it said where it was exported.

Three parts are checked apart, so that a failure names its culprit: prepare (pictures → inputs), the graph (inputs → raw
outputs) and decode (raw outputs → predictions).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.blocks import Table
from espalier.bundle.compare import Arrays, Match, errors, json_difference, merge
from espalier.bundle.golden import GoldenSet
from espalier.bundle.manifest import Manifest
from espalier.bundle.steady import edge_rows, edge_words, errors_of
from espalier.errors import ParityError, Problem
from espalier.tasks.base import Decoder, ImageQuery, Task, Tiled
from espalier.vision.batch import padded, size_of
from espalier.vision.geometry import Geometry
from espalier.vision.prepare import Placed, Prepare
from espalier.vision.tiling import Tiling

PREPARE_TOLERANCE = 0.01
"""Of the largest input: about one step of 8 bits after normalising. Other builds of the resizers round otherwise."""

DECODE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Check:
    """One part of the proof: the largest error found, and what is allowed."""

    part: str
    error: float
    tolerance: float
    note: str = ""

    @property
    def passed(self) -> bool:
        """Within the tolerance? (NaN is not.)"""
        return bool(self.error <= self.tolerance)


@dataclass(frozen=True)
class VerifyReport:
    """All checks of a bundle on this machine."""

    checks: tuple[Check, ...]
    batches: tuple[int, ...]
    count: int

    @property
    def passed(self) -> bool:
        """Did every check pass?"""
        return all(check.passed for check in self.checks)

    @property
    def worst(self) -> float:
        """The largest error of the graph's outputs."""
        return max((c.error for c in self.checks if c.part.startswith("graph")), default=0.0)

    def raise_if_failed(self, where: str) -> None:
        """Raises ParityError that names every failed check."""
        failed = [check for check in self.checks if not check.passed]
        if failed:
            raise ParityError(*(_problem(where, check) for check in failed))

    def to_json(self) -> dict[str, Any]:
        """The report as JSON data."""
        rows = [
            {"part": c.part, "error": _finite(c.error), "tolerance": c.tolerance, "passed": c.passed, "note": c.note}
            for c in self.checks
        ]
        return {"passed": self.passed, "count": self.count, "batches": list(self.batches), "checks": rows}

    def block(self) -> Table:
        """The report as a table for the page."""
        rows = [
            (c.part, f"{c.error:.2g}", f"{c.tolerance:.2g}", "passed" if c.passed else "FAILED", c.note)
            for c in self.checks
        ]
        batches = ", ".join(map(str, self.batches))
        note = f"{self.count} golden inputs in batches of {batches}; errors are max|a-b| over max|a|"
        return Table("Verified against golden outputs", ("part", "error", "allowed", "result", "note"), rows, note)


@dataclass(frozen=True)
class Questions:
    """What turns golden queries into inputs and golden outputs into predictions, as this machine does it."""

    task: Task
    prepare: Prepare
    decoder: Decoder
    manifest: Manifest
    tiling: Tiling | None = None

    def placed(self, arrays: Mapping[str, NDArray[Any]]) -> list[Placed]:
        """A golden query in the network's input: its tiles, or all of it."""
        return list(self.prepare.placed_parts(golden_query(self.task, arrays), self.tiling))

    def joined(self, parts: Sequence[Placed], said: Sequence[Any]) -> Any:
        """The prediction of a query by those of its parts."""
        windows = [part.tile.window for part in parts if part.tile is not None]
        if not windows or not isinstance(self.task, Tiled) or parts[0].tile is None:
            return said[0]
        return self.task.joined(said, windows, parts[0].tile.size_hw, self.manifest.decode.params)


def verify(
    golden: GoldenSet,
    run: Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]],
    *,
    questions: Questions,
    tolerance: float,
    match: Match | None = None,
) -> VerifyReport:
    """The three checks. The graph is run on all golden inputs at once and again one by one.

    A row that differs, and on which the graph itself stands on a knife's edge (bundle.steady), is left out and told;
    not so where none would remain.
    """
    batches = tuple(sorted({1, golden.rows_count}))
    compared = [compared_in_batches(golden, run, size, tolerance, match) for size in batches]
    worst = reduce(merge, (error for error, _ in compared))
    note = edge_words(max(unsteady for _, unsteady in compared), golden.rows_count)
    placed = [questions.placed(arrays) for arrays in golden.queries]
    prepared, geometries = _prepare_check(golden, questions, placed)
    graph = (Check(f"graph: {name}", error, tolerance, note) for name, error in worst.items())
    decoded = _decode_check(golden, questions, placed, geometries)
    return VerifyReport((prepared, *graph, decoded), batches, golden.count)


def compared_in_batches(
    golden: GoldenSet,
    run: Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]],
    size: int,
    tolerance: float,
    match: Match | None,
) -> tuple[dict[str, float], int]:
    """The largest error of each output when the golden inputs are run `size` at a time, and how many were left out."""
    every: dict[str, float] = {}
    held: dict[str, float] = {}
    unsteady = 0
    for chosen in slices(golden.rows_count, size):
        inputs = golden.rows(chosen)
        expected: Arrays = {name: array[chosen] for name, array in golden.outputs.items()}
        found = run(inputs)
        ordered = match(expected, found) if match else found
        edge_B = edge_rows(inputs, expected, ordered, tolerance, run=run, said=ordered, match=match)
        every = merge(every, errors(expected, ordered))
        held = held if edge_B.all() else merge(held, errors_of(~edge_B, expected, ordered))
        unsteady += int(edge_B.sum())
    return (held, unsteady) if unsteady < golden.rows_count else (every, 0)


def slices(count: int, size: int) -> Iterator[slice]:
    """0…count in steps of `size`; the last one may be shorter."""
    yield from (slice(start, min(start + size, count)) for start in range(0, count, size))


def golden_query(task: Task, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """The query with these arrays, of the task's own class where it has one."""
    query: Callable[..., Any] = getattr(task, "query", ImageQuery)
    return query(**arrays)


def _prepare_check(
    golden: GoldenSet, questions: Questions, placed: Sequence[Sequence[Placed]]
) -> tuple[Check, list[Geometry]]:
    worst: dict[str, float] = {}
    geometries: list[Geometry] = []
    sizes = {name: size_of(array) for name, array in golden.inputs.items() if array.ndim == 4}
    parts = [part for own in placed for part in own]
    if len(parts) != golden.rows_count:
        note = f"{len(parts)} inputs come of the golden pictures, {golden.rows_count} did"
        return Check("prepare", np.inf, PREPARE_TOLERANCE, note), geometries
    for i, part in enumerate(parts):
        prepared = padded(questions.prepare.finished(part), sizes)
        geometries.append(prepared.geometry)
        worst = merge(worst, errors({name: array[i] for name, array in golden.inputs.items()}, prepared.arrays))
    return Check("prepare", max(worst.values()), PREPARE_TOLERANCE, "pictures to the graph's inputs"), geometries


def _decode_check(
    golden: GoldenSet, questions: Questions, placed: Sequence[Sequence[Placed]], geometries: list[Geometry]
) -> Check:
    if not geometries:
        return Check("decode", np.inf, DECODE_TOLERANCE, "not tried: there are other inputs than then")
    manifest = questions.manifest
    decoded = iter(questions.decoder(golden.outputs, geometries, manifest.classes, manifest.decode.params))
    whole = [questions.joined(parts, list(islice(decoded, len(parts)))) for parts in placed]
    found = [questions.task.to_json(prediction, manifest.classes) for prediction in whole]
    difference = json_difference(list(golden.predictions), found, tolerance=DECODE_TOLERANCE)
    error, note = (0.0, "raw outputs to predictions") if difference is None else (np.inf, str(difference))
    return Check("decode", float(error), DECODE_TOLERANCE, note)


def _problem(where: str, check: Check) -> Problem:
    return Problem(
        where,
        f"{check.part}: the error is {check.error:.3g}{'; ' + check.note if check.note else ''}",
        f"at most {check.tolerance:.3g} against the golden set",
        "don't use this copy here: copy it again, or install the versions named in its README",
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
