"""`labelled_classes.csv` beside the labels: for which classes each picture was labelled, in any format.

A row names a picture, as the labels or the folder do, or several by a pattern (`new/*.jpg`), and its classes with `|`
between them. A picture that no row is about was labelled for all classes. Its own row counts before a pattern's, a
later pattern before an earlier one.
"""

from __future__ import annotations

import csv
import fnmatch
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from espalier import storage
from espalier.data.findings import Finding
from espalier.data.formats.base import Loss
from espalier.data.index import Index
from espalier.errors import DataError, Problem

FILE = "labelled_classes.csv"
COLUMNS = ("image", "labelled_classes")
BETWEEN = "|"


@dataclass(frozen=True)
class Said:
    """A row: the classes that the pictures of this name or pattern were labelled for."""

    image: str
    classes: tuple[str, ...]
    line: int


def applied(splits: Mapping[str, Index], folder: str) -> dict[str, Index]:
    """The splits with what the file in `folder` says, if there is one; rows that are about nothing are findings.

    Raises DataError for a file that can't be read.
    """
    path = storage.join(folder, FILE)
    if not storage.exists(path):
        return dict(splits)
    rows = list(_rows(path))
    used: set[int] = set()
    told = {split: _told(index, rows, folder, used) for split, index in splits.items()}
    first = next(iter(told))
    findings = [*told[first].findings, *_findings(path, rows, used, told[first].classes)]
    return told | {first: replace(told[first], findings=tuple(findings))}


def write(splits: Mapping[str, Index], names: Mapping[str, Sequence[str]], folder: Path) -> tuple[Loss, ...]:
    """Writes the file for pictures that lie at `names`, where some were labelled for a part of the classes."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    partly = 0
    for split, index in splits.items():
        for row in np.flatnonzero(index.partly).tolist():
            out = set(index.unlabelled_classes(row))
            kept = [name for c, name in enumerate(index.classes) if c not in out]
            writer.writerow([names[split][row], BETWEEN.join(kept)])
            partly += 1
    if not partly:
        return ()
    storage.write_atomic(folder / FILE, text.getvalue())
    barred = sum(BETWEEN in name for name in next(iter(splits.values())).classes)
    return (Loss(f"class names with '{BETWEEN}', which {FILE} can't tell apart", barred),) if barred else ()


def _rows(path: str) -> Iterator[Said]:
    try:
        text = storage.read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(Problem(path, "the text is not UTF-8", fix="save the file as 'CSV UTF-8'")) from error
    reader = csv.reader(io.StringIO(text, newline=""))
    header = [cell.strip().lower() for cell in next(reader, [])]
    if tuple(header) != COLUMNS:
        raise DataError(Problem(f"{path}:1", f"the columns are {', '.join(header)}"[:200], ", ".join(COLUMNS)))
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(COLUMNS):
            what = f"{len(cells)} cells where the header has {len(COLUMNS)}"
            raise DataError(Problem(f"{path}:{reader.line_num}", what, f"classes have '{BETWEEN}' between them"))
        names = tuple(filter(None, (name.strip() for name in cells[1].split(BETWEEN))))
        yield Said(cells[0].strip(), names, reader.line_num)


def _told(index: Index, rows: Sequence[Said], folder: str, used: set[int]) -> Index:
    exact = {each.image: number for number, each in enumerate(rows)}
    patterns = [number for number in reversed(range(len(rows))) if set("*?[") & set(rows[number].image)]
    about: dict[int, list[int]] = {}
    for row in range(len(index)):
        names = dict.fromkeys((index.name(row), storage.relative(index.path(row), folder)))
        found = next((exact[name] for name in names if name in exact), None)
        if found is None:
            found = next((n for n in patterns if any(fnmatch.fnmatchcase(x, rows[n].image) for x in names)), None)
        if found is not None:
            about.setdefault(found, []).append(row)
    used.update(about)
    if not about:
        return index
    return index.labelled_in_parts((rows[number].classes, pictures) for number, pictures in about.items())


def _findings(path: str, rows: Sequence[Said], used: set[int], classes: Sequence[str]) -> Iterator[Finding]:
    known = set(classes)
    for number, each in enumerate(rows):
        where = f"{path}:{each.line}"
        if number not in used:
            what = f"no picture is called '{each.image}', so the row says nothing"
            yield Finding(
                "warning", "no-picture", where, what, "name it as the labels do, or by its place in the folder"
            )
        for name in each.classes:
            if name not in known:
                what = f"no label is of the class '{name}', and no list names it"
                yield Finding("warning", "unknown-class", where, what, "correct the name, or name it in data.classes")
