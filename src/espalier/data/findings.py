"""What is wrong, odd or worth knowing about a data set: one shape for the readers and for `data check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from espalier.errors import DataError, Problem

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
SHOWN = 20
"""So many problems are spelled out in an error; the rest are counted."""
LISTED = 1000
"""So many findings of one code a reader spells out; the rest are counted."""


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


class Notes:
    """Findings as a reader makes them: of each code at most LISTED are spelled out."""

    def __init__(self) -> None:
        self._found: list[Finding] = []
        self._seen: Counter[tuple[Severity, str]] = Counter()
        self._told: set[tuple[str, str]] = set()

    def add(self, severity: Severity, code: str, where: str, what: str, fix: str = "") -> None:
        """One more."""
        self._seen[severity, code] += 1
        if self._seen[severity, code] <= LISTED:
            self._found.append(Finding(severity, code, where, what, fix))

    def once(self, code: str, about: str, where: str, what: str) -> None:
        """A note that is told once, with the first place; `about` tells notes of one code apart."""
        if (code, about) not in self._told:
            self._told.add((code, about))
            self.add("info", code, where, what)

    def all(self, source: str) -> list[Finding]:
        """Those spelled out, and for each code how many more there were."""
        more = ((key, count - LISTED) for key, count in self._seen.items() if count > LISTED)
        return [
            *self._found,
            *(Finding(*key, source, f"and {count} more findings of this kind") for key, count in more),
        ]


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
