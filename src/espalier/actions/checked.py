"""Every picture and label looked at before the first step, as `data check` does: none of them can end it later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from espalier.data.check import CheckReport, check
from espalier.data.findings import Finding, raise_errors
from espalier.data.index import UNKNOWN, Index
from espalier.data.scan import Scan
from espalier.errors import DataError
from espalier.runs.run import Run
from espalier.tasks.base import ImageQuery, Task

TOLD = 5


def look(
    indexes: Mapping[str, Index], task: Task, run: Run, *, max_pixels: int, source: str, compare: bool = True
) -> CheckReport:
    """The report, its sum and its first warnings told. Raises DataError with everything that training can't go on with.

    That is what `data check` calls so, and every label of which the task can't make what is learnt from.
    Without `compare` near-duplicates are not looked for.
    """
    report = check(indexes, compare=compare, max_pixels=max_pixels)
    counts = ", ".join(f"{report.count(severity)} {severity}s" for severity in ("error", "warning"))
    run.say(f"check: {counts}" + ("; every picture can be read" if not report.unusable else ""))
    for finding in [f for f in report.findings if f.severity != "info" and f not in report.unusable][:TOLD]:
        run.warn(str(finding).partition(": ")[2])
    raise_errors(report.unusable, source)
    raise_errors((f for split, index in indexes.items() for f in useless(index, task, report.seen[split])), source)
    return report


def useless(index: Index, task: Task, seen: Scan) -> Iterator[Finding]:
    """The labels of which the task can make no sample, made as training and scoring will."""
    for row in range(len(index)):
        try:
            task.sample(_plain(seen, row), index.annotations(row), index.classes, name=index.name(row), group="")
        except DataError as error:
            yield from (Finding("error", "malformed", p.where, p.what, p.fix, (row,)) for p in error.problems)


def _plain(seen: Scan, row: int) -> ImageQuery:
    """A picture of that size, which takes no memory."""
    height, width = (1 if side == UNKNOWN else int(side) for side in seen.size_hw[row])
    return ImageQuery(np.broadcast_to(np.uint8(0), (height, width, 3)))
