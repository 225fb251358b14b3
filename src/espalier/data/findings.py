"""What is wrong, odd or worth knowing about a data set: one shape for the readers and for `data check`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from espalier.errors import DataError, Problem

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
SHOWN = 20
"""So many problems are spelled out in an error; the rest are counted."""


@dataclass(frozen=True)
class Finding:
    """One thing found in a data set. `where` names the file, line or id; `rows` are the pictures it is about."""

    severity: Severity
    code: str
    where: str
    what: str
    fix: str = ""
    rows: tuple[int, ...] = ()
    split: str = ""

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.what}" + (f"\n  {self.fix}" if self.fix else "")


def raise_errors(findings: Iterable[Finding], source: str) -> None:
    """Raises DataError with every finding of severity 'error'; does nothing when there is none."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return
    problems = [Problem(e.where, e.what, fix=e.fix) for e in errors[:SHOWN]]
    if len(errors) > SHOWN:
        problems.append(Problem(source, f"and {len(errors) - SHOWN} more problems"))
    advice = f"`espalier data check {source}` lists everything; with `--fix DIR` it writes a corrected copy"
    raise DataError(*problems, Problem("", advice))
