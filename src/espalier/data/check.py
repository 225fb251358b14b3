"""What is wrong with a data set, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from espalier.blocks import Block, Table
from espalier.data import check_labels, check_masks, check_pictures
from espalier.data.findings import SEVERITIES, Finding, Severity
from espalier.data.index import Index
from espalier.data.leaks import between_splits
from espalier.data.scan import Progress, Scan, scan
from espalier.vision.image import MAX_PIXELS

SHOWN = 100
UNUSABLE = frozenset(
    {
        "missing",
        "unreadable",
        "malformed",
        "unknown-class",
        "unknown-picture",
        "duplicate-id",
        "mask-size",
        "all-ignored",
    }
)
"""Codes of errors with which training can't go on; the others are errors of judgement that a person may overrule."""

CHECKS: tuple[Callable[[Index, Scan], Iterator[Finding]], ...] = (
    check_pictures.unreadable,
    check_pictures.turned,
    check_pictures.other_size,
    check_pictures.repeated_names,
    check_pictures.duplicates,
    check_labels.bad_boxes,
    check_labels.bad_outlines,
    check_labels.missing_outlines,
    check_masks.bad_masks,
    check_labels.repeated_labels,
    check_labels.classes_and_labels,
)


@dataclass(frozen=True)
class CheckReport:
    """Everything found, errors first, and what the pictures looked like (`seen`, by split)."""

    findings: tuple[Finding, ...]
    seen: Mapping[str, Scan]

    @property
    def ok(self) -> bool:
        """Was no error found?"""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def unusable(self) -> tuple[Finding, ...]:
        """The errors with which training can't go on."""
        return tuple(f for f in self.findings if f.severity == "error" and f.code in UNUSABLE)

    def count(self, severity: Severity) -> int:
        """How many findings of that severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def blocks(self) -> tuple[Block, ...]:
        """For a report: the counts, and the findings themselves, at most SHOWN of each code."""
        names = {severity: "notes" if severity == "info" else f"{severity}s" for severity in SEVERITIES}
        counts = Table("Data check", tuple(names.values()), [[self.count(severity) for severity in names]])
        rows, left_out = _table_rows(self.findings)
        note = f"{left_out} more of the same kinds are not shown" if left_out else ""
        columns = ("", "What", "Where", "Finding", "What to do")
        return (counts, Table("Findings", columns, rows, note)) if rows else (counts,)

    def lines(self) -> tuple[str, ...]:
        """For a terminal: each finding, at most SHOWN of each code, and the sum."""
        shown: Counter[tuple[str, str]] = Counter()
        lines = []
        for finding in self.findings:
            kind = (finding.severity, finding.code)
            shown[kind] += 1
            if shown[kind] <= SHOWN:
                lines.append(f"[{finding.split}] {finding}" if finding.split else str(finding))
        lines += [f"{severity}: {n - SHOWN} more of {code}" for (severity, code), n in shown.items() if n > SHOWN]
        pictures = sum(len(seen.problems) for seen in self.seen.values())
        return (*lines, f"{pictures} pictures: " + ", ".join(f"{self.count(s)} {s}s" for s in SEVERITIES[:2]))


def _table_rows(findings: Sequence[Finding]) -> tuple[list[list[str]], int]:
    shown: Counter[str] = Counter()
    rows, left_out = [], 0
    for finding in findings:
        shown[finding.code] += 1
        if shown[finding.code] > SHOWN:
            left_out += 1
            continue
        where = f"{finding.split}: {finding.where}" if finding.split else finding.where
        rows.append([finding.severity, finding.code, where, finding.what, finding.fix])
    return rows, left_out


def check(
    indexes: Mapping[str, Index],
    *,
    seen: Mapping[str, Scan] | None = None,
    compare: bool = True,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
) -> CheckReport:
    """Looks at every label and every picture. `seen` are the scans when they were made already.

    Without `compare` near-duplicates are not looked for, neither within a split nor between splits.

    The indexes are read with `strict=False`, so that what their readers left out is told here too.
    """
    scans = {
        split: seen[split]
        if seen and split in seen
        else scan(index, compare=compare, max_pixels=max_pixels, progress=progress)
        for split, index in indexes.items()
    }
    findings: list[Finding] = []
    for split, index in indexes.items():
        named = split if len(indexes) > 1 else ""
        found = [finding for look in CHECKS for finding in look(index, scans[split])]
        findings += [replace(finding, split=named) for finding in (*index.findings, *found)]
    findings += between_splits(indexes, scans)
    order = {severity: place for place, severity in enumerate(SEVERITIES)}
    return CheckReport(tuple(sorted(findings, key=lambda f: (order[f.severity], f.code))), scans)
