"""What `data check` looks for in the pictures: files, orientation, size, duplicates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.data.duplicates import near_duplicates
from espalier.data.findings import Finding
from espalier.data.index import UNKNOWN, Index
from espalier.data.scan import Scan


def unreadable(index: Index, seen: Scan) -> Iterator[Finding]:
    """Pictures that are missing, truncated, damaged, refused or no pictures."""
    for row in np.flatnonzero(~seen.readable).tolist():
        problem = seen.problems[row]
        if problem is None:
            continue
        if seen.missing[row]:
            where = f"{index.source}: {index.name(row)}" if index.format != "folders" else index.name(row)
            what = f"the picture {index.path(row)} is missing"
            fix = "put it there, set data.images to its folder, or take its labels out"
            yield Finding("error", "missing", where, what, fix, (row,))
        else:
            fix = problem.fix or "replace the file or take it out"
            yield Finding("error", "unreadable", index.path(row), problem.what, fix, (row,))


def turned(index: Index, seen: Scan) -> Iterator[Finding]:
    """Pictures that EXIF's orientation turns, and labels that were drawn on the picture as it is stored."""
    rows = np.flatnonzero((seen.orientation != 1) & seen.readable)
    for row in rows[drawn_on_stored(index, seen)[rows]].tolist():
        what = "its labels were drawn on the picture as it is stored, but EXIF says that it is shown turned"
        yield Finding("error", "exif-rotation", index.name(row), what, "`--fix DIR` turns picture and labels", (row,))
    others = rows[~drawn_on_stored(index, seen)[rows]]
    if len(others):
        what = f"{len(others)} pictures are turned by EXIF's orientation; Espalier turns them, other programs may not"
        fix = "labels must fit the upright picture; `--fix DIR` stores them upright"
        yield Finding("info", "exif-rotation", few(index, others), what, fix, tuple(others.tolist()))


def drawn_on_stored(index: Index, seen: Scan) -> NDArray[np.bool_]:
    """(N,) do the labels give the size of the stored picture, where that differs from the upright one's?"""
    height, width = seen.size_hw.T
    turned = (seen.orientation >= 5) & (height != width) & (np.diff(index.offsets) > 0)
    same: NDArray[np.bool_] = turned & (index.size_hw[:, 0] == width) & (index.size_hw[:, 1] == height)
    return same


def other_size(index: Index, seen: Scan) -> Iterator[Finding]:
    """Pictures of another size than the labels say."""
    said, found = index.size_hw, seen.size_hw
    differs = (
        (said != found).any(axis=1) & (said != UNKNOWN).all(axis=1) & seen.readable & ~drawn_on_stored(index, seen)
    )
    for row in np.flatnonzero(differs).tolist():
        what = (
            f"the labels say {said[row, 1]} × {said[row, 0]} px, the picture has {found[row, 1]} × {found[row, 0]} px"
        )
        fix = "is it the picture that was labelled? Correct the size, or scale the labels"
        yield Finding("warning", "other-size", index.name(row), what, fix, (row,))


def repeated_names(index: Index, seen: Scan) -> Iterator[Finding]:
    """Pictures that the labels list more than once."""
    for name, count in Counter(index.paths.tolist()).items():
        if count > 1:
            rows = tuple(np.flatnonzero(index.paths == name).tolist())
            what = f"the picture is listed {count} times"
            yield Finding("warning", "duplicate-picture", f"{index.source}: {name}", what, "list it once", rows)


def duplicates(index: Index, seen: Scan) -> Iterator[Finding]:
    """Near-duplicates within the split: a note, or a warning where their labels differ."""
    pairs = near_duplicates(seen)
    labels = [tuple(np.unique(index.class_id[a:b]).tolist()) for a, b in zip(index.offsets, index.offsets[1:])]
    for a, b in pairs:
        if "box" not in index.kinds and labels[a] != labels[b]:
            first, second = (" + ".join(index.classes[c] for c in labels[row]) or "nothing" for row in (a, b))
            what = f"it shows the same as {index.name(b)}, but one is labelled {first} and the other {second}"
            yield Finding("warning", "conflicting-labels", index.name(a), what, "correct one of them", (int(a), int(b)))
    if len(pairs):
        members = np.unique(pairs)
        what = f"{len(members)} pictures show the same as another one"
        where = few(index, members)
        yield Finding("info", "near-duplicate", where, what, "a split by Espalier keeps them on one side")


def sizes(index: Index, seen: Scan) -> NDArray[np.int32]:
    """(N, 2) the size of the frame that the labels are in: the picture's, or if it can't be read what they say."""
    use_said = ~seen.readable | drawn_on_stored(index, seen)
    return np.where(use_said[:, None], index.size_hw, seen.size_hw)


def few(index: Index, rows: NDArray[Any]) -> str:
    """The names of the first three."""
    names = [index.name(int(row)) for row in rows[:3]]
    return ", ".join(names) + (", …" if len(rows) > 3 else "")
