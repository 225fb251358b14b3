"""KITTI's object labels: `label_2/…txt` for `image_2/…png`, fifteen fields a line, of which the 2D box is read.

Boxes are edges in pixels from 0, as they stand. `DontCare` is a region in which nothing was labelled, of no class. A
picture without a .txt is not part of the set; an empty .txt is that of a background picture.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from espalier.data.findings import Notes
from espalier.data.formats.base import Loss, Options, Place
from espalier.data.index import Index, with_findings
from espalier.data.lost import Lost, add_common, unused_classes
from espalier.data.rows import Rows, numbers
from espalier.data.sidecars import bare_name, by_key, head, key, label_name, pictures_of, read_all, splits_of
from espalier.errors import DataError, Problem

_ORDER = ("train", "val", "test")
_FOLDERS = {"train": "training", "val": "validation", "test": "testing", "": ""}
_IGNORED = "dontcare"
_FIELDS = (15, 16)  # the last one is a detector's score
_UNKNOWN_3D = "-1 -1 -1 -1000 -1000 -1000 -10"  # what KITTI writes where there is no 3D box
_NO_LABELS = re.compile(r"(readme.*|train|val|test|trainval|classes|labels)\.txt$", re.IGNORECASE)


class Kitti:
    """KITTI's text files."""

    name = "kitti"
    help = "KITTI: image_2/ and label_2/ (or images/ and labels/) with a .txt of fifteen fields a line for each picture"
    holds = frozenset({"box"})
    refers = False
    tells_classes = False
    by_stem = True

    def detect(self, place: Place) -> int:
        """Rather sure of text files beside pictures with lines of fifteen fields."""
        if not place.is_folder:
            return 60 if place.suffix == ".txt" and _looks_right(place.path) else 0
        found = _pairs(place.pictures, place.files)
        heads = [place.open(name) for name in sorted(set(found.values()))[:20]]
        said = [seen for path in heads if (seen := _looks_right(path)) is not None]
        return 78 if said and all(said) else 0

    def read(self, place: Place, options: Options) -> dict[str, Index]:
        """A split is a folder of that name: `training/`, `testing/`."""
        home = place if place.is_folder else Place(place.folder)
        root, pictures = pictures_of(home, options.images)
        labels = _pairs(pictures, home.files)
        if not place.is_folder:
            labels = {picture: name for picture, name in labels.items() if home.open(name) == place.path}
        if not labels:
            raise DataError(Problem(place.path, "no .txt label files beside pictures in it", expected=self.help))
        notes = Notes()
        if place.is_folder:
            _tell_others(notes, home, pictures, labels)
        numbers_of: dict[str, int] = {}
        rows: dict[str, Rows] = {}
        labelled = list(labels)
        contents = read_all([home.open(labels[picture]) for picture in labelled])
        for picture, split, content in zip(labelled, splits_of(labelled), contents):
            part = rows.setdefault(split, Rows(numbers_of))
            _read(part, picture, home.open(labels[picture]), content, notes)
        classes = sorted(numbers_of)
        found = {
            split: rows[split].index(classes, root=root, source=place.path, format=self.name)
            for split in _ORDER
            if split in rows
        }
        return with_findings(found, notes.all(place.path))

    def place_pictures(self, index: Index, split: str) -> list[str]:
        """`training/image_2/…`, in one folder, as KITTI's tools expect it."""
        start = "/".join(filter(None, (_FOLDERS[split], "image_2")))
        return [f"{start}/{bare_name(str(path)).replace('/', '_')}" for path in index.paths]

    def write(self, splits: Mapping[str, Index], names: Mapping[str, Sequence[str]], folder: Path) -> tuple[Loss, ...]:
        """`label_2/…txt` for each picture, empty ones too."""
        lost = Lost()
        classes = next(iter(splits.values())).classes
        types = [_type(name) for name in classes]
        for split, index in splits.items():
            for row, name in enumerate(names[split]):
                target = folder / label_name(name, pictures="image_2", labels="label_2", suffix=".txt")
                target.parent.mkdir(parents=True, exist_ok=True)
                lines = _lines(index, row, types, lost)
                target.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        add_common(lost, splits, ignored=True)
        lost.add("classes that no picture has", unused_classes(splits))
        changed = sum(kind != name for kind, name in zip(types, classes))
        lost.add("classes under another name, since KITTI's are one word and not DontCare", changed)
        lost.add("classes put together with another, since their names become one", len(types) - len(set(types)))
        return lost.told()


# ---- reading -------------------------------------------------------------------------------------------------------


def _pairs(pictures: Sequence[str], files: Sequence[str]) -> dict[str, str]:
    """Picture → its label file, of those that have one."""
    texts = by_key(name for name in files if _is_label(name))
    return {picture: texts[key(picture)] for picture in pictures if key(picture) in texts}


def _is_label(name: str) -> bool:
    return name.lower().endswith(".txt") and not _NO_LABELS.match(name.rpartition("/")[2])


def _looks_right(path: str) -> bool | None:
    """Is the first line a word and numbers? None for a file without one."""
    fields = head(path).lstrip(b"\xef\xbb\xbf \r\n\t").split(b"\n", 1)[0].decode("utf-8", "replace").split()
    if not fields:
        return None
    return len(fields) in _FIELDS and numbers(fields[:1]) is None and numbers(fields[1:]) is not None


def _read(rows: Rows, picture: str, file: str, content: bytes | Problem, notes: Notes) -> None:
    row = rows.picture(picture, file=file)
    if isinstance(content, Problem):
        notes.add("error", "malformed", content.where, content.what, content.fix)
        return
    for line, text in enumerate(content.decode("utf-8-sig", "replace").split("\n"), 1):
        fields = text.split()
        problem = _add(rows, row, fields, line) if fields else None
        if problem:
            notes.add("error", "malformed", f"{file}:{line}", problem, "correct or delete the line")
        elif fields and fields[0].lower() != _IGNORED and _says_more(fields):
            notes.once(
                "not-kept", "fields", f"{file}:{line}", "truncation, occlusion, angles and 3D boxes are not kept"
            )


def _add(rows: Rows, row: int, fields: Sequence[str], line: int) -> str | None:
    """Adds a line's label; or says what is wrong with it."""
    if len(fields) not in _FIELDS:
        return f"{len(fields)} fields where KITTI has 15: type, truncated, occluded, alpha, box, 3D size, place, angle"
    values = numbers(fields[1:])
    if values is None:
        return f"a field behind the type '{fields[0][:40]}' is no number"
    x1, y1, x2, y2 = values[3:7]
    if fields[0].lower() == _IGNORED:
        rows.ignore(row, (x1, y1, x2, y2))
    else:
        rows.label(row, fields[0], (x1, y1, x2, y2), line=line)
    return None


def _says_more(fields: Sequence[str]) -> bool:
    """Is there anything but zeros and KITTI's 'unknown' beside the box?"""
    values = numbers([*fields[1:4], *fields[8:15]])
    return values is None or any(value not in (0, -1, -10, -1000) for value in values)


def _tell_others(notes: Notes, home: Place, pictures: Sequence[str], labels: Mapping[str, str]) -> None:
    bare = [picture for picture in pictures if picture not in labels]
    if bare:
        what = f"{len(bare)} pictures have no .txt and are left out: nobody said what they show"
        notes.add("info", "no-label-file", ", ".join(bare[:3]), what, "an empty .txt makes a background picture")
    used = set(labels.values())
    for name in home.files:
        if _is_label(name) and name not in used:
            notes.add(
                "warning", "no-picture", home.open(name), "there is no picture of this name; its labels are left out"
            )


# ---- writing -------------------------------------------------------------------------------------------------------


def _type(name: str) -> str:
    """The class's name as one word."""
    word = "_".join(name.split()) or "_"
    return f"_{word}" if word.lower() == _IGNORED or numbers([word]) is not None else word


def _lines(index: Index, row: int, types: Sequence[str], lost: Lost) -> list[str]:
    lines = []
    for m in range(int(index.offsets[row]), int(index.offsets[row + 1])):
        if np.isnan(index.box_xyxy[m, 0]):
            lost.add("labels without a box")
            continue
        lost.add("outlines", bool(index.segments.kind(m)))
        lost.add("crowds of a class, now ignored regions of every class", bool(index.is_crowd[m]))
        kind = "DontCare" if index.is_crowd[m] else types[index.class_id[m]]
        lines.append(_line(kind, index.box_xyxy[m].tolist()))
    return [*lines, *(_line("DontCare", box.tolist()) for box in index.ignored_xyxy(row))]


def _line(kind: str, box: Sequence[float]) -> str:
    edges = " ".join(f"{edge:.4f}".rstrip("0").rstrip(".") for edge in box)
    known = "-1 -1" if kind == "DontCare" else "0 0"
    return f"{kind} {known} -10 {edges} {_UNKNOWN_3D}"


FORMAT = Kitti()
