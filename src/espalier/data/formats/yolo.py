"""YOLO in Ultralytics' layout: `data.yaml`, `images/…`, and `labels/…` with a .txt of shares for each picture.

A line is a class and either `cx cy w h` or an outline `x1 y1 x2 y2 …`, in shares of the upright picture's width and
height. A picture whose .txt is empty or missing is a background picture, as Ultralytics has it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier import storage
from espalier.data.findings import Finding
from espalier.data.formats.base import UNSPLIT, Loss, Options, Place
from espalier.data.index import UNKNOWN, Index, with_findings
from espalier.data.lost import CROWDS, Lost, add_common
from espalier.data.outlines import as_polygons, as_text, bridged, extent, segment_of
from espalier.data.picture_sizes import sizes_of
from espalier.data.rows import Rows
from espalier.data.sidecars import bare_name, label_name, read_all
from espalier.data.yolo_layout import HELP, YAML, Layout, layout_of, looks_right, pairs, speaks_yolo, yaml_of
from espalier.errors import DataError, Problem

_ORDER = ("train", "val", "test")
_FARTHEST = 10.0  # shares beyond are pixels or nonsense; a box a little outside is left to `data check`
_SAME_PX = 0.01


class Yolo:
    """YOLO's text files."""

    name = "yolo"
    help = HELP
    holds = frozenset({"box", "polygon"})
    refers = False
    tells_classes = False
    by_stem = True

    def detect(self, place: Place) -> int:
        """Sure of a data.yaml with names; rather sure of text files beside pictures with lines of YOLO's kind."""
        if not place.is_folder:
            return 90 if place.suffix in YAML and speaks_yolo(place.path) else 0
        if yaml_of(place):
            return 95
        files = [place.open(label) for label in pairs(place.pictures, place.files).values() if label][:3]
        return 75 if files and all(looks_right(file) for file in files) else 0

    def read(self, place: Place, options: Options) -> dict[str, Index]:
        """A split is what data.yaml names so, or a folder of that name."""
        layout = layout_of(place, options)
        sizes, unread = _sizes(layout)
        numbers: dict[str, int] = {}
        rows = {split: _rows(layout, split, numbers, sizes, unread) for split in _ORDER if split in layout.pictures}
        names = layout.names or {number: str(number) for number in sorted(map(int, numbers))}
        own = {name: number for number, name in sorted(names.items(), reverse=True)}  # the first number of each name
        classes = sorted(own, key=lambda name: own[name])
        found = {
            split: part.index(
                classes, class_ids=[own[name] for name in classes], root=layout.root, source=layout.source,
                format=self.name, names={str(number): name for number, name in names.items()},
            )
            for split, part in rows.items()
        }  # fmt: skip
        return with_findings(found, [*layout.notes.all(layout.source), *_same_names(names, layout.source)])

    def place_pictures(self, index: Index, split: str) -> list[str]:
        """`images/split/…`."""
        return ["/".join(filter(None, ("images", split, bare_name(str(path))))) for path in index.paths]

    def write(self, splits: Mapping[str, Index], names: Mapping[str, Sequence[str]], folder: Path) -> tuple[Loss, ...]:
        """`data.yaml` and a .txt for each picture, empty ones too."""
        lost = Lost()
        for split, index in splits.items():
            for name, lines in zip(names[split], _texts(index, lost)):
                _write_lines(folder, name, lines, "labels")
        add_common(lost, splits)
        storage.write_atomic(folder / "data.yaml", _data_yaml(splits))
        return lost.told()

    def write_predictions(
        self, index: Index, score_M: NDArray[Any], names: Sequence[str], folder: Path, *, model: str
    ) -> tuple[Loss, ...]:
        """As `write`; beside `labels/` there is `predictions/`, the same lines with the score as a last number."""
        lost = Lost()
        texts = _texts(index, lost, score_M)
        for name, lines in zip(names, texts):
            _write_lines(folder, name, [line.rpartition(" ")[0] for line in lines], "labels")
            _write_lines(folder, name, lines, "predictions")
        add_common(lost, {UNSPLIT: index})
        storage.write_atomic(folder / "data.yaml", _data_yaml({UNSPLIT: index}))
        return lost.told()


# ---- reading -------------------------------------------------------------------------------------------------------


class _BadLineError(Exception):
    def __init__(self, what: str, code: str = "malformed") -> None:
        self.what, self.code = what, code


def _sizes(layout: Layout) -> tuple[dict[str, tuple[int, int]], dict[str, Problem]]:
    """Size of each picture that has a label file; and what is wrong with those that can't be read."""
    pictures = [picture for picture, label in layout.labels.items() if label]
    found, problems = sizes_of([storage.join(layout.root, picture) for picture in pictures])
    sizes = {picture: (int(h), int(w)) for picture, (h, w) in zip(pictures, found)}
    return sizes, {pictures[row]: problem for row, problem in problems.items()}


def _rows(
    layout: Layout, split: str, numbers: dict[str, int], sizes: Mapping[str, tuple[int, int]],
    unread: Mapping[str, Problem],
) -> Rows:  # fmt: skip
    rows = Rows(numbers)
    pictures = layout.pictures[split]
    contents = read_all([file for file in map(layout.labels.get, pictures) if file])
    for picture in pictures:
        file = layout.labels[picture] or ""
        row = rows.picture(picture, size_hw=sizes.get(picture, (UNKNOWN, UNKNOWN)), file=file)
        content = next(contents) if file else b""
        if isinstance(content, Problem):
            layout.notes.add("error", "malformed", content.where, content.what, content.fix)
        elif picture not in unread:
            _read_labels(rows, row, content, file, layout)
        elif content.strip():
            what = f"its labels are shares of a picture that can't be read: {unread[picture].what}"
            layout.notes.add("error", "malformed", file, what, "replace the picture, or take both out")
    return rows


def _read_labels(rows: Rows, row: int, content: bytes, file: str, layout: Layout) -> None:
    for line, text in enumerate(content.decode("utf-8-sig", "replace").split("\n"), 1):
        fields = text.split()
        if not fields:
            continue
        try:
            _add(rows, row, fields, line, layout)
        except _BadLineError as bad:
            layout.notes.add("error", bad.code, f"{file}:{line}", bad.what, "correct or delete the line")


def _add(rows: Rows, row: int, fields: Sequence[str], line: int, layout: Layout) -> None:
    """Adds a line's label. Raises _BadLineError."""
    number, shares = _numbers(fields)
    if layout.names and number not in layout.names:
        listed = ", ".join(f"{n} {name}" for n, name in list(layout.names.items())[:10])
        raise _BadLineError(f"the class {number} is not among the names ({listed})"[:400], "unknown-class")
    if layout.keypoints and len(shares) == 4 + layout.keypoints:
        shares = shares[:4]
    height, width = rows.size_hw(row)
    if len(shares) == 4:
        cx, cy, w, h = (share * side for share, side in zip(shares, (width, height) * 2))
        rows.label(row, str(number), (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), line=line)
        return
    if len(shares) < 6 or len(shares) % 2:
        what = f"{len(fields)} numbers: a box has 5 (class cx cy w h), an outline an odd number from 7 on"
        raise _BadLineError(what)
    polygon = [share * side for share, side in zip(shares, (width, height) * (len(shares) // 2))]
    rows.label(row, str(number), extent([polygon]), line=line, outline=as_text([polygon]))


def _numbers(fields: Sequence[str]) -> tuple[int, list[float]]:
    """The class and the shares."""
    try:
        number, *shares = map(float, fields)
    except ValueError as error:
        raise _BadLineError(f"'{' '.join(fields[:9])[:60]}' is not a line of numbers") from error
    if not 0 <= number < 1e9 or number != int(number):
        raise _BadLineError(f"the class {fields[0][:20]} is no whole number from 0 on")
    if not all(abs(share) <= _FARTHEST for share in shares):
        raise _BadLineError("a number is no share of the picture's width or height (0 to 1); is it in pixels?")
    return int(number), shares


def _same_names(names: Mapping[int, str], source: str) -> list[Finding]:
    counts = Counter(names.values())
    text = "several classes have this name; they are read as one class"
    return [Finding("warning", "duplicate-class", f"{source}: '{name}'", text) for name, n in counts.items() if n > 1]


# ---- writing -------------------------------------------------------------------------------------------------------


def _texts(index: Index, lost: Lost, score_M: NDArray[Any] | None = None) -> Iterator[list[str]]:
    """The lines of each picture; with scores, each ends with its own. Raises DataError for a picture without size."""
    sizes, unread = sizes_of([index.path(row) for row in range(len(index))])
    if unread:
        raise DataError(*list(unread.values())[:20], Problem("", "YOLO's shares need each picture's size"))
    for row in range(len(index)):
        rows = range(int(index.offsets[row]), int(index.offsets[row + 1]))
        found = ((m, _line(index, m, sizes[row], lost)) for m in rows)
        scored = ((line, "" if score_M is None else f" {float(score_M[m]):.6g}") for m, line in found if line)
        yield [line + score for line, score in scored]


def _write_lines(folder: Path, picture: str, lines: Sequence[str], below: str) -> None:
    target = folder / label_name(picture, pictures="images", labels=below, suffix=".txt")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _line(index: Index, m: int, size_hw: NDArray[np.int32], lost: Lost) -> str:
    """An annotation as a line; '' for one that can't be one."""
    if index.is_crowd[m]:
        lost.add(CROWDS)
        return ""
    side_2 = size_hw[::-1].astype(np.float64)
    box = index.box_xyxy[m].astype(np.float64)
    polygons, from_mask = as_polygons(segment_of(index, m))
    lost.add("masks (RLE), written as outlines around them, holes filled", from_mask)
    if polygons:
        differs = not np.isnan(box[0]) and bool(np.abs(box - extent(polygons)).max() > _SAME_PX)
        lost.add("outlines in several parts, joined to one by lines without width", len(polygons) > 1)
        lost.add("boxes that are not their outline's extent, which is read in their place", differs)
        return _text(index.class_id[m], (np.reshape(bridged(polygons), (-1, 2)) / side_2).reshape(-1))
    if np.isnan(box[0]):
        lost.add("labels without a box")
        return ""
    corner_22 = box.reshape(2, 2) / side_2
    return _text(index.class_id[m], np.concatenate([corner_22.mean(axis=0), corner_22[1] - corner_22[0]]))


def _text(class_id: np.int64, shares: NDArray[np.float64]) -> str:
    return " ".join([str(int(class_id)), *(f"{share:.9g}" for share in shares)])


def _data_yaml(splits: Mapping[str, Index]) -> str:
    """As Ultralytics writes it: names by number. JSON's quotes are YAML's too."""
    parted = len(splits) > 1 or set(splits) != {UNSPLIT}
    lines = [f"{split}: {'images/' + split if parted else 'images'}" for split in splits]
    if "val" not in splits:
        lines.append("val:")  # Ultralytics wants the word; this data set has no such part
    names = next(iter(splits.values())).classes
    return "\n".join([*lines, "names:", *(f"  {n}: {json.dumps(name)}" for n, name in enumerate(names)), ""])


FORMAT = Yolo()
