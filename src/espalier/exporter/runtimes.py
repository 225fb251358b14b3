"""Which runtimes were proven to say what the model says, and which were not asked."""

from __future__ import annotations

from collections.abc import Sequence

from espalier.bundle.compare import Match
from espalier.bundle.manifest import Runtime
from espalier.errors import MissingExtraError, ModelError, ParityError, Problem
from espalier.exporter.parity import ParityReport, Trials, check_trials
from espalier.runtime.backend import Backend
from espalier.runtime.backends import READS_ONNX, REFERENCE, installed, onnx_backend
from espalier.spec.fields import Auto

NOT_INSTALLED = "not run: not installed"
NOT_ASKED = "not run: not asked for"


def check_installed(asked: Sequence[str] | Auto) -> None:
    """Raises MissingExtraError for a runtime that was asked for by name and is not installed."""
    for name in () if asked == "auto" else asked:
        if installed(name) is None and name != REFERENCE:
            raise MissingExtraError(name, f"proving a bundle in {name}")


def proven(
    graph: bytes,
    model: Backend,
    reference: ParityReport,
    *,
    trials: Trials,
    asked: Sequence[str] | Auto,
    match: Match | None,
    where: str,
) -> tuple[Runtime, ...]:
    """Each runtime that reads ONNX: its version and the largest error on the trials, or why it did not run.

    `reference` is the report of the reference runtime. Raises ParityError where one differs from the model, or does not
    run the graph.
    """
    found = [Runtime(backend=REFERENCE, version=installed(REFERENCE) or "", error=_rounded(reference.worst))]
    for name in READS_ONNX:
        if name == REFERENCE:
            continue
        version = installed(name)
        if version is None or not (asked == "auto" or name in asked):
            found.append(Runtime(backend=name, note=NOT_INSTALLED if version is None else NOT_ASKED))
            continue
        report = _compared(name, graph, model, trials, reference.tolerance, match, where)
        report.raise_if_failed(f"{where} in {name}")
        found.append(Runtime(backend=name, version=version, error=_rounded(report.worst)))
    return tuple(found)


def _compared(
    name: str, graph: bytes, model: Backend, trials: Trials, tolerance: float, match: Match | None, where: str
) -> ParityReport:
    fix = f"nothing was written; export.backends=[{REFERENCE}] makes a bundle that is proven in {REFERENCE} alone"
    try:
        runs = onnx_backend(name, graph, device="cpu", where=where)
        return check_trials(model, runs, trials, tolerance, match, f"{where} in {name}")
    except ModelError as error:
        raise ParityError(
            *(Problem(f"{p.where} in {name}", p.what, p.expected, fix) for p in error.problems)
        ) from error


def _rounded(error: float) -> float:
    """To two digits, as the other errors of a bundle."""
    return float(f"{error:.1e}")
