"""`espalier report RUN`: a run's page, made anew from its events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from espalier.errors import Problem, UsageError
from espalier.runs.report import write_report
from espalier.runs.run import Run
from espalier.spec.sections import Spec


def report(spec: Spec, run: Run) -> dict[str, Any]:
    """Where `report.html` was written, inside the run that `report.run` names.

    Raises ModelError for a folder that is not a run or whose events are damaged; StorageError when it can't be written.
    """
    if spec.report.run is None:
        raise UsageError(Problem("report.run", "no run was named", fix="espalier report runs/fit-001"))
    path = write_report(Path(spec.report.run), title=spec.report.title)
    run.say(f"report: {path}")
    return {"report": str(path)}
