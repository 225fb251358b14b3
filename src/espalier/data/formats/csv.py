"""A CSV with a picture and a label, or a box, in each row."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from espalier import storage
from espalier.data import labelled_classes
from espalier.data.findings import Finding
from espalier.data.formats.base import (
    SPLIT_NAMES,
    UNSPLIT,
    Loss,
    Options,
    Place,
    parent,
    picture_root,
    safe_name,
    split_in_name,
)  # fmt: skip
from espalier.data.index import UNKNOWN, Index, assemble
from espalier.errors import DataError, Problem

_PATH = (
    "image",
    "path",
    "file",
    "filename",
    "file_name",
    "image_path",
    "image_name",
    "filepath",
    "img",
    "picture",
    "photo",
)
_LABEL = ("label", "labels", "class", "classes", "class_name", "category", "species", "tag", "tags", "target")
_SPLIT = ("split", "subset", "partition", "set")
_CROWD = ("is_crowd", "iscrowd", "crowd")
_XYXY = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), ("left", "top", "right", "bottom"))
_XYWH = (("x", "y", "w", "h"), ("bbox_x", "bbox_y", "bbox_width", "bbox_height"))
_BETWEEN = "|"
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SNIFFED_BYTES = 1 << 16


@dataclass(frozen=True)
class Columns:
    """Which column says what."""

    path: int
    label: int
    box: tuple[int, ...] = ()
    is_xywh: bool = False
    size_hw: tuple[int, ...] = ()
    group: int | None = None
    split: int | None = None
    crowd: int | None = None


@dataclass
class Rows:
    """The rows of one split, collected."""

    pictures: dict[str, int] = field(default_factory=dict)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    image_row: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    boxes: list[tuple[float, ...]] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


class Csv:
    """A CSV."""

    name = "csv"
    help = "a .csv with the columns image and label; xmin, ymin, xmax, ymax, group and split are understood too"
    holds = frozenset({"label", "box"})
    refers = True
    tells_classes = False
    by_stem = False

    def detect(self, place: Place) -> int:
        """Sure of a .csv that has a column for the picture and one for the label."""
        if not place.is_folder:
            return (90 if _looks_right(place.path) else 5) if place.suffix in (".csv", ".tsv") else 0
        files = _label_files(place)
        return 70 if files and all(_looks_right(path) for path in files.values()) else 0

    def read(self, place: Place, options: Options) -> dict[str, Index]:
        """A column `split`, or a file for each split, makes parts."""
        paths = _label_files(place) if place.is_folder else {UNSPLIT: place.path}
        if not paths:
            raise DataError(Problem(place.path, "no .csv file in it", expected=self.help))
        findings: list[Finding] = []
        found: dict[str, tuple[str, Rows]] = {}
        for split, path in paths.items():
            for part, rows in _read(path, split, options, findings).items():
                found.setdefault(part, (path, rows))
        found = found or {UNSPLIT: (next(iter(paths.values())), Rows())}  # what is wrong with every row is told
        classes = sorted({label for _, rows in found.values() for label in rows.labels})
        splits = [split for split in ("train", "val", "test") if split in found]
        return {split: _index(*found[split], classes, options, [] if n else findings) for n, split in enumerate(splits)}

    def place_pictures(self, index: Index, split: str) -> list[str]:
        """`images/split/…`."""
        return ["/".join(filter(None, ("images", split, safe_name(str(path))))) for path in index.paths]

    def write(self, splits: Mapping[str, Index], names: Mapping[str, Sequence[str]], folder: Path) -> tuple[Loss, ...]:
        """One `labels.csv` with a row for each annotation, and one for each picture without any."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        has_boxes = any("box" in index.kinds for index in splits.values())
        has_crowd = any(bool(index.is_crowd.any()) for index in splits.values())
        has_groups = any(index.group is not None for index in splits.values())
        box_names = _XYXY[0] if has_boxes else ()
        extra = [name for name, there in (("is_crowd", has_crowd), ("group", has_groups)) if there]
        writer.writerow(["image", "label", *box_names, *extra, "split"])
        for split, index in splits.items():
            for row in range(len(index)):
                group = [] if not has_groups else [str(index.group[row]) if index.group is not None else ""]
                for label, box, crowd in _cells(index, row, has_boxes=has_boxes, has_crowd=has_crowd):
                    writer.writerow([names[split][row], label, *box, *crowd, *group, split])
        storage.write_atomic(folder / "labels.csv", text.getvalue())
        return _losses(list(splits.values()))


# ---- reading -------------------------------------------------------------------------------------------------------


def _looks_right(path: str) -> bool:
    with storage.open_read(path) as file:
        head = file.read(_SNIFFED_BYTES).decode("utf-8-sig", "replace")
    names = _header_names(head)
    return any(name in names for name in _PATH) and any(name in names for name in _LABEL)


def _header_names(text: str) -> list[str]:
    first = text.lstrip().split("\n", 1)[0]
    return [cell.strip().strip('"').lower() for cell in first.split(_delimiter(text))]


def _delimiter(text: str) -> str:
    first = text.lstrip().split("\n", 1)[0]
    return max(",;\t", key=first.count)


def _label_files(place: Place) -> dict[str, str]:
    """Split → file: by name, or the only .csv there is. Files of pictures' folders don't count."""
    names = [name for name in place.files if name.lower().endswith((".csv", ".tsv")) and "/" not in name]
    names = [name for name in names if name != labelled_classes.FILE]
    if len(names) == 1:
        return {split_in_name(names[0]) or UNSPLIT: place.open(names[0])}
    found = {split_in_name(name): place.open(name) for name in reversed(names)}
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def _text(path: str) -> str:
    content = storage.read_bytes(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            Problem(f"{path}:{line}", "the text is not UTF-8", fix="save the file as 'CSV UTF-8'")
        ) from error


def _cells_of(path: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line, and cells, of each row that isn't empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    begun = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield begun, [cell.strip() for cell in cells]
            begun = reader.line_num + 1
    except csv.Error as error:
        raise DataError(Problem(f"{path}:{reader.line_num}", f"not valid CSV: {error}")) from error


def _columns(path: str, line: int, header: Sequence[str], options: Options) -> Columns:
    names = [name.lower() for name in header]
    place = {name: number for number, name in reversed(list(enumerate(names)))}
    picture = next((place[name] for name in _PATH if name in place), None)
    label = next((place[name] for name in _LABEL if name in place), None)
    if picture is None or label is None:
        missing = "the picture (image, path, file, …)" if picture is None else "the label (label, class, …)"
        shown = ", ".join(header[:20])[:300]
        raise DataError(Problem(f"{path}:{line}", f"no column for {missing}; the columns are: {shown}", Csv.help))
    xyxy = next((b for b in _XYXY if all(name in place for name in b)), None)
    box = xyxy or next((b for b in _XYWH if all(name in place for name in b)), ())
    size = ("height", "width") if all(name in place for name in ("height", "width")) else ()
    group = options.group.lower() if options.group else "group"
    return Columns(
        picture, label, tuple(place[name] for name in box), bool(box) and xyxy is None,
        tuple(place[name] for name in size), place.get(group),
        next((place[name] for name in _SPLIT if name in place), None),
        next((place[name] for name in _CROWD if name in place), None),
    )  # fmt: skip


def _read(path: str, split: str, options: Options, findings: list[Finding]) -> dict[str, Rows]:
    rows = _cells_of(path, _text(path))
    line, header = next(rows, (1, []))
    columns = _columns(path, line, header, options)
    findings.extend(_not_kept(path, header, columns))
    parts: dict[str, Rows] = {}
    for line, cells in rows:
        problem = _add(parts, line, cells, len(header), columns, split)
        if problem:
            findings.append(Finding("error", "malformed", f"{path}:{line}", problem, "correct or delete the line"))
    return parts


def _add(
    parts: dict[str, Rows], line: int, cells: Sequence[str], width: int, columns: Columns, split: str
) -> str | None:
    """Adds a row to its split; or says what is wrong with it."""
    if len(cells) != width:
        hint = "; is a quote left open?" if any("\n" in cell for cell in cells) else ""
        return f"{len(cells)} cells where the header has {width}{hint}"
    if _CONTROL.search(cells[columns.path] + cells[columns.label]):
        return "a line break or a control character in a name; is a quote left open?"
    path = cells[columns.path]
    if not path:
        return "no picture is named"
    if columns.split is not None:
        split = SPLIT_NAMES.get(cells[columns.split].lower(), "")
        if not split:
            return f"the split '{cells[columns.split][:40]}' is none of train, val, test"
    box = _box(cells, columns)
    if isinstance(box, str):
        return box
    rows = parts.setdefault(split, Rows())
    row = rows.pictures.setdefault(path, len(rows.pictures))
    if row == len(rows.sizes):
        rows.sizes.append(_size(cells, columns))
        rows.groups.append(cells[columns.group] if columns.group is not None else "")
    crowd = columns.crowd is not None and cells[columns.crowd].lower() in ("1", "true", "yes")
    for label in filter(None, (part.strip() for part in cells[columns.label].split(_BETWEEN))):
        rows.image_row.append(row)
        rows.labels.append(label)
        rows.boxes.append(box)
        rows.crowd.append(crowd)
        rows.lines.append(line)
    return None


def _box(cells: Sequence[str], columns: Columns) -> tuple[float, ...] | str:
    """The box xyxy; NaN when all its cells are empty; or what is wrong with it."""
    texts = [cells[number] for number in columns.box]
    if not any(texts):
        return (math.nan,) * 4
    try:
        values = [float(text) for text in texts]
    except ValueError:
        return f"the box ({', '.join(texts)[:80]}) is not four numbers"
    if not all(abs(value) < 1e9 for value in values):
        return f"the box ({', '.join(texts)[:80]}) has a number that is no place in a picture"
    a, b, c, d = values
    return (a, b, a + c, b + d) if columns.is_xywh else (a, b, c, d)


def _size(cells: Sequence[str], columns: Columns) -> tuple[int, int]:
    texts = [cells[number] for number in columns.size_hw]
    if len(texts) == 2 and all(text.isdecimal() and text.isascii() and len(text) < 8 for text in texts):
        return int(texts[0]) or UNKNOWN, int(texts[1]) or UNKNOWN
    return UNKNOWN, UNKNOWN


def _not_kept(path: str, header: Sequence[str], columns: Columns) -> list[Finding]:
    used = {columns.path, columns.label, *columns.box, *columns.size_hw, columns.group, columns.split, columns.crowd}
    names = [name for number, name in enumerate(header) if number not in used]
    if not names:
        return []
    return [Finding("info", "not-kept", path, f"columns not kept: {', '.join(names[:20])[:300]}")]


def _index(path: str, rows: Rows, classes: Sequence[str], options: Options, findings: Sequence[Finding]) -> Index:
    number = {name: position for position, name in enumerate(classes)}
    paths = list(rows.pictures)
    here = parent(path)
    return assemble(
        root=options.images or picture_root([here, storage.join(here, "images")], paths),
        source=path,
        format="csv",
        paths=paths,
        classes=classes,
        image_row=np.array(rows.image_row, np.int64),
        class_id=np.array([number[label] for label in rows.labels], np.int64),
        box_xyxy=np.array(rows.boxes, np.float32).reshape(-1, 4),
        is_crowd=np.array(rows.crowd, np.bool_),
        line=np.array(rows.lines, np.int64),
        size_hw=np.array(rows.sizes, np.int32).reshape(-1, 2),
        group=rows.groups if any(rows.groups) else None,
        findings=findings,
    )


# ---- writing -------------------------------------------------------------------------------------------------------


def _cells(index: Index, row: int, *, has_boxes: bool, has_crowd: bool) -> Iterator[tuple[str, list[str], list[str]]]:
    """Label, box and crowd flag of each annotation of a picture; of a picture without any, empty cells."""
    start, stop = int(index.offsets[row]), int(index.offsets[row + 1])
    if start == stop:
        yield "", [""] * 4 * has_boxes, [""] * has_crowd
    for m in range(start, stop):
        box = [_number(edge) for edge in index.box_xyxy[m]] if has_boxes else []
        yield index.classes[index.class_id[m]], box, [str(int(index.is_crowd[m]))] * has_crowd


def _number(value: np.float32) -> str:
    return "" if np.isnan(value) else f"{float(value):.4f}".rstrip("0").rstrip(".")


def _losses(indexes: Sequence[Index]) -> tuple[Loss, ...]:
    outlines = sum(int((index.segments.stop_M > index.segments.start_M).sum()) for index in indexes)
    ignored = sum(index.ignored_count() for index in indexes)
    used = np.sum([index.counts() for index in indexes], axis=0)
    barred = sum(_BETWEEN in name for name in indexes[0].classes)
    found = {
        "outlines": outlines,
        "ignored regions": ignored,
        "classes that no picture has": int((used == 0).sum()),
        f"class names with '{_BETWEEN}', which will be read as several labels": barred,
    }
    return tuple(Loss(what, count) for what, count in found.items() if count)


FORMAT = Csv()
