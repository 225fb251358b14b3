"""What a run of the tool prints: a line per file, and the counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from parity.findings import Finding, worst

OK, FAIL, LATER = "ok", "FAIL", "not yet"
_SHOWN = 3  # failed comparisons of one file


@dataclass(frozen=True)
class Result:
    """One file: its status, the comparisons made, and why where the status needs a reason."""

    name: str
    status: str
    findings: Sequence[Finding] = ()
    reason: str = ""
    seconds: float = 0.0


def of_findings(name: str, findings: Sequence[Finding], seconds: float) -> Result:
    """`ok` when every comparison is within its tolerance; a file that nothing was compared of is a FAIL."""
    if not findings:
        return Result(name, FAIL, (), "nothing in it was compared", seconds)
    return Result(name, OK if all(finding.ok for finding in findings) else FAIL, findings, "", seconds)


def lines(result: Result, width: int) -> list[str]:
    """The file's line, and below it the first comparisons that failed."""
    head = f"{result.name:{width}}"
    if not result.findings:
        return [f"{head}  {'':8}  {result.status:7}  {result.reason}"]
    furthest = worst(list(result.findings))
    seen = f"{furthest.what}, worst of {len(result.findings)} comparisons, {result.seconds:.1f} s"
    failed = sorted((f for f in result.findings if not f.ok), key=lambda finding: -finding.ratio)
    more = [f"{'':{width}}    {f.what}: {f.note}" for f in failed[:_SHOWN]]
    if len(failed) > _SHOWN:
        more.append(f"{'':{width}}    and {len(failed) - _SHOWN} more")
    return [f"{head}  {furthest.ratio:8.3g}  {result.status:7}  {seen}", *more]


def summary(results: Sequence[Result]) -> str:
    """How many of each status."""
    count = Counter(result.status for result in results)
    return f"{len(results)} files: {count[OK]} ok, {count[FAIL]} FAIL, {count[LATER]} not yet"


def passed(results: Sequence[Result]) -> bool:
    """No file failed."""
    return all(result.status != FAIL for result in results)
