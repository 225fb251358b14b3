"""COCO's JSON as columns.

The file is cut into its items first, and these are decoded in pieces: a file with a million annotations needs little
more memory than its own text and the columns. Outlines stay JSON text until they are asked for.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, TypeVar

import msgspec
import numpy as np
from msgspec import Raw
from numpy.typing import NDArray

from espalier import storage
from espalier.data.findings import Finding
from espalier.data.index import UNKNOWN
from espalier.data.segments import Segments
from espalier.errors import DataError, Problem
from espalier.vision.masks import segment_box

Key = int | str
_PIECE = 1 << 14
_LARGEST_PX2 = 1e18  # a larger area is none
_LISTED = 1000  # findings of one kind that are spelled out


class Picture(msgspec.Struct, gc=False):
    """An item of `images`."""

    id: Key
    file_name: str
    width: int | None = None
    height: int | None = None
    group: str | None = None  # ours: written by `data convert`
    neg_category_ids: list[Key] | None = None  # LVIS: looked for and not there; what else isn't labelled is unknown
    not_exhaustive_category_ids: list[Key] | None = None  # LVIS: there, and perhaps more of it than was labelled


class Category(msgspec.Struct, gc=False):
    """An item of `categories`."""

    id: Key
    name: str


class Box(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """A list of four numbers. (A tuple of them would keep the garbage collector busy.)"""

    x: float
    y: float
    width: float
    height: float


_NO_BOX = Box(math.nan, math.nan, math.nan, math.nan)


class Label(msgspec.Struct, gc=False):
    """An item of `annotations`."""

    image_id: Key
    category_id: Key
    id: Key | None = None
    bbox: Box | None = None
    iscrowd: int | bool | None = 0
    segmentation: Raw = Raw(b"")
    area: Any = None  # a number, or not kept


_image_id, _category_id, _id = attrgetter("image_id"), attrgetter("category_id"), attrgetter("id")
_bbox, _iscrowd, _segmentation = attrgetter("bbox"), attrgetter("iscrowd"), attrgetter("segmentation")
_area = attrgetter("area")


class _Top(msgspec.Struct):
    images: list[Raw]
    annotations: list[Raw] = []
    categories: list[Raw] = []


_KEPT = {
    "images": {*Picture.__struct_fields__, "license", "coco_url", "flickr_url", "date_captured"},
    "annotations": {*Label.__struct_fields__},
    "categories": {*Category.__struct_fields__, "supercategory"},
}
Item = TypeVar("Item", Picture, Category, Label)


@dataclass
class CocoFile:
    """The columns of one file. `image_row` and `class_row` count in `pictures` and `categories`."""

    path: str
    pictures: list[Picture]
    categories: list[Category]
    image_row: NDArray[np.int64]
    class_row: NDArray[np.int64]
    annotation_id: NDArray[np.int64]
    box_xyxy: NDArray[np.float32]
    is_crowd: NDArray[np.bool_]
    segments: Segments
    area: NDArray[np.float64]  # NaN where none is given
    findings: list[Finding] = field(default_factory=list)


def read_file(path: str) -> CocoFile:
    """The file's columns; items that can't be used are left out and found in `findings`.

    Raises DataError for a file that is not JSON or not COCO's.
    """
    top = _top(path)
    findings: list[Finding] = _not_kept(path, top)
    pictures = _unique(path, "images", _all(path, "images", top.images, Picture, findings), findings)
    categories = _unique(path, "categories", _all(path, "categories", top.categories, Category, findings), findings)
    raws, size = top.annotations, len(top.annotations)
    columns = _Columns(path, [p.id for p in pictures], [c.id for c in categories], size)
    del top
    for piece in _pieces(path, "annotations", raws, Label, findings):
        columns.add(piece)
    del raws  # and with them the text of the file, before the columns are copied
    return columns.file(pictures, categories, findings)


def _top(path: str) -> _Top:
    content = storage.read_bytes(path).removeprefix(b"\xef\xbb\xbf")
    try:
        return msgspec.json.decode(content, type=_Top)
    except msgspec.ValidationError as error:
        raise DataError(
            Problem(path, f"not COCO's JSON: {error}", "lists named images, annotations, categories")
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(Problem(f"{path}{_line(content, error)}", f"not valid JSON: {error}")) from error
    except RecursionError as error:
        raise DataError(Problem(path, "not COCO's JSON: it is nested too deeply")) from error


def _line(content: bytes, error: Exception) -> str:
    """':12' when the error names a byte, else ''."""
    _, found, tail = str(error).partition("(byte ")
    digits = tail.split(")")[0]
    if not (found and digits.isdigit()):
        return ""
    return ":" + str(content.count(b"\n", 0, int(digits)) + 1)


# ---- items ---------------------------------------------------------------------------------------------------------


def _pieces(
    path: str, section: str, raws: Sequence[Raw], kind: type[Item], findings: list[Finding]
) -> Iterator[list[Item]]:
    """The decoded items, some ten thousand at a time; an item that can't be decoded is left out and told of."""
    decode = msgspec.json.Decoder(kind).decode
    for start in range(0, len(raws), _PIECE):
        part = raws[start : start + _PIECE]
        try:
            yield list(map(decode, part))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            yield list(_one_by_one(path, section, start, part, kind, findings))


def _one_by_one(
    path: str, section: str, start: int, raws: Sequence[Raw], kind: type[Item], findings: list[Finding]
) -> Iterator[Item]:
    decoder = msgspec.json.Decoder(kind)
    told = 0
    for number, raw in enumerate(raws, start):
        try:
            yield decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            told += 1
            if told <= _LISTED:
                findings.append(_malformed(f"{path}: {section}[{number}]", raw, error))
    if told > _LISTED:
        findings.append(Finding("error", "malformed", path, f"and {told - _LISTED} more {section} that can't be read"))


def _malformed(where: str, raw: Raw, error: Exception) -> Finding:
    reason = str(error).replace(" - at `$", " - at `").replace("`.", "`")
    text = bytes(raw)[:80].decode("utf-8", "replace")
    return Finding("error", "malformed", where, f"{reason}: {text}", "correct or delete the item")


def _all(path: str, section: str, raws: Sequence[Raw], kind: type[Item], findings: list[Finding]) -> list[Item]:
    return [item for piece in _pieces(path, section, raws, kind, findings) for item in piece]


def _unique(path: str, section: str, items: list[Item], findings: list[Finding]) -> list[Item]:
    """The first item of each id."""
    first: dict[Key | None, Item] = {item.id: item for item in reversed(items)}
    if len(first) == len(items):
        return items
    for item in items:
        if first[item.id] is not item:
            what = f"the id {item.id} is used more than once among {section}; the first one counts"
            findings.append(
                Finding("error", "duplicate-id", f"{path}: {section} id {item.id}", what, "give each its own id")
            )
    return [item for item in items if first[item.id] is item]


def _not_kept(path: str, top: _Top) -> list[Finding]:
    """What the file says that an Index has no place for, told by its first items."""
    found = []
    for section, kept in _KEPT.items():
        names: set[str] = set()
        for raw in getattr(top, section)[:100]:
            try:
                names |= set(msgspec.json.decode(raw, type=dict[str, Raw]))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue  # told of when the item itself is decoded
        if names - kept:
            what = f"{section} have {', '.join(sorted(names - kept)[:10])}: not kept"
            found.append(Finding("info", "not-kept", path, what))
    return found


# ---- columns -------------------------------------------------------------------------------------------------------


class _Columns:
    """The columns of the annotations, filled piece by piece; they are made once, at the size of the whole."""

    def __init__(self, path: str, images: Sequence[Key], categories: Sequence[Key], size: int) -> None:
        self._path = path
        self._images, self._categories = _Places(images), _Places(categories)
        self._size = 0
        self._image_row = np.empty(size, np.int32)
        self._class_row = np.empty(size, np.int32)
        self._annotation_id = np.empty(size, np.int64)
        self._box_xyxy = np.empty((size, 4), np.float32)
        self._is_crowd = np.empty(size, np.bool_)
        self._area = np.empty(size, np.float64)
        self._stop = np.empty(size, np.int64)
        self._text = bytearray()
        self._lost: list[tuple[int, Label]] = []

    def add(self, labels: list[Label]) -> None:
        """One more piece."""
        count = len(labels)
        part = slice(self._size, self._size + count)
        self._image_row[part] = self._images.rows(list(map(_image_id, labels)))
        self._class_row[part] = self._categories.rows(list(map(_category_id, labels)))
        self._annotation_id[part] = _numbers(labels, self._size)
        self._is_crowd[part] = np.fromiter(map(bool, map(_iscrowd, labels)), np.bool_, count)
        self._box_xyxy[part] = _boxes(labels)
        self._area[part] = _areas(labels)
        outlines = list(map(_segmentation, labels))
        self._stop[part] = len(self._text) + np.cumsum(np.fromiter(map(len, outlines), np.int64, count))
        self._text += b"".join(outlines)
        unknown = np.minimum(self._image_row[part], self._class_row[part]) == UNKNOWN
        self._lost.extend((self._size + int(row), labels[row]) for row in np.flatnonzero(unknown))
        self._size += count

    def file(self, pictures: list[Picture], categories: list[Category], findings: list[Finding]) -> CocoFile:
        """Everything that was added, but for annotations of unknown pictures and classes."""
        self._mend(findings)
        keep = (self._image_row[: self._size] != UNKNOWN) & (self._class_row[: self._size] != UNKNOWN)
        rows: Any = slice(0, self._size) if keep.all() else np.flatnonzero(keep)
        stop = self._stop[: self._size]
        start = np.concatenate([stop[:1] * 0, stop[:-1]])
        self._box_outlined(Segments(self._text, start, stop))
        return CocoFile(
            self._path,
            pictures,
            categories,
            self._image_row[rows].astype(np.int64),
            self._class_row[rows].astype(np.int64),
            self._annotation_id[rows],
            self._box_xyxy[rows],
            self._is_crowd[rows],
            Segments(self._text, start[rows], stop[rows]),
            self._area[rows],
            findings,
        )

    def _box_outlined(self, segments: Segments) -> None:
        """Gives annotations that have an outline and no box the box around it; `data check` tells of broken ones."""
        boxless = np.isnan(self._box_xyxy[: self._size, 0])
        for m in np.flatnonzero(boxless & (segments.stop_M - segments.start_M > 2)).tolist():
            with contextlib.suppress(DataError):
                segment = segments[m]
                if segment:
                    self._box_xyxy[m] = segment_box(segment)

    def _mend(self, findings: list[Finding]) -> None:
        """Finds ids that are text in one place and numbers in the other; tells of those that are nowhere."""
        if not self._lost:
            return
        images, categories = self._images.by_text(), self._categories.by_text()
        told = 0
        for place, label in self._lost:
            self._image_row[place] = image_row = images.get(str(label.image_id), UNKNOWN)
            self._class_row[place] = class_row = categories.get(str(label.category_id), UNKNOWN)
            if UNKNOWN in (image_row, class_row):
                told += 1
                if told <= _LISTED:
                    findings.append(_unknown(self._path, place, label, picture=image_row == UNKNOWN))
        if told > _LISTED:
            what = f"and {told - _LISTED} more annotations of unknown pictures or classes"
            findings.append(Finding("error", "unknown-picture", self._path, what))


def _unknown(path: str, place: int, label: Label, *, picture: bool) -> Finding:
    where = f"{path}: annotation {place if label.id is None else label.id}"
    if picture:
        what = f"it is for picture {label.image_id}, which is not among the images"
        return Finding("error", "unknown-picture", where, what, "add the picture or delete the annotation")
    what = f"its class {label.category_id} is not among the categories"
    return Finding("error", "unknown-class", where, what, "add the category or delete the annotation")


class _Places:
    """Finds the rows of ids: of numbers by bisection (a dict of this size misses the cache), of text by a dict."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = keys
        self._numbers = _whole(keys) if set(map(type, keys)) == {int} else np.zeros(0, np.int64)
        self._order = np.argsort(self._numbers).astype(np.int32)
        self._sorted = self._numbers[self._order]
        self._table = {} if len(self._numbers) else {key: row for row, key in enumerate(keys)}

    def rows(self, keys: Sequence[Key]) -> NDArray[np.int32]:
        """The row of each id, or UNKNOWN."""
        wanted = _whole(keys) if len(self._sorted) else np.zeros(0, np.int64)
        if len(wanted) < len(keys) or not len(self._sorted):
            table = self._table or {int(key): row for row, key in enumerate(self._numbers)}
            return np.fromiter((table.get(key, UNKNOWN) for key in keys), np.int32, len(keys))
        place = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        return np.where(self._sorted[place] == wanted, self._order[place], np.int32(UNKNOWN))

    def by_text(self) -> dict[str, int]:
        """Id as text → row."""
        return {str(key): row for row, key in enumerate(self._keys)}


def _whole(keys: Sequence[Key]) -> NDArray[np.int64]:
    """The ids as numbers; empty unless all are numbers of 64 bit."""
    try:
        return np.fromiter(keys, np.int64, len(keys))
    except (TypeError, ValueError, OverflowError):
        return np.zeros(0, np.int64)


def _boxes(labels: list[Label]) -> NDArray[np.float32]:
    found = [_NO_BOX if box is None else box for box in map(_bbox, labels)]
    boxes = np.empty((len(found), 4))
    for place, name in enumerate(Box.__struct_fields__):
        boxes[:, place] = np.fromiter(map(attrgetter(name), found), np.float64, len(found))
    boxes[:, 2:] += boxes[:, :2]
    with np.errstate(over="ignore"):  # larger than float32: infinite, and found by `data check`
        return boxes.astype(np.float32)


def _areas(labels: list[Label]) -> NDArray[np.float64]:
    """px²; NaN for what is no area."""
    found = list(map(_area, labels))
    if not set(map(type, found)) <= {int, float}:
        found = [value if type(value) in (int, float) else math.nan for value in found]
    try:
        areas = np.fromiter(found, np.float64, len(found))
    except OverflowError:  # a whole number beyond float64
        areas = np.array([value if abs(value) < _LARGEST_PX2 else math.nan for value in found], np.float64)
    areas[~((areas >= 0) & (areas < _LARGEST_PX2))] = np.nan
    return areas


def _numbers(labels: list[Label], first: int) -> NDArray[np.int64]:
    """The annotations' ids as numbers; where they aren't numbers, counted from `first`."""
    try:
        return np.fromiter(map(_id, labels), np.int64, len(labels))
    except (TypeError, ValueError, OverflowError):
        ids = map(_id, labels)
        fine = [key if isinstance(key, int) and abs(key) < 2**62 else first + n for n, key in enumerate(ids)]
        return np.array(fine, np.int64)
