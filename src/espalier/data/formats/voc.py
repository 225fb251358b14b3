"""Pascal VOC: an .xml for each picture, beside it or in `Annotations/`, and `ImageSets/Main/train.txt` for the parts.

VOC counts pixels from 1 and its boxes include the last one: `xmin … xmax` are the edges `xmin - 1 … xmax`. A set in
which a box begins at 0 can't count from 1; its numbers are taken as edges, and that is told. `difficult` objects are
neither asked for nor counted as wrong, which is what a crowd means here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from espalier import storage
from espalier.data.findings import Notes
from espalier.data.formats.base import SPLIT_NAMES, UNSPLIT, Loss, Options, Place, is_picture
from espalier.data.index import UNKNOWN, Index, with_findings
from espalier.data.lost import Lost, add_common, unused_classes
from espalier.data.picture_sizes import known_sizes
from espalier.data.rows import BoxXyxy, Rows, numbers
from espalier.data.sidecars import bare_name, head, key, pictures_of, read_all, splits_of
from espalier.data.xml_file import Element, document, root_tag
from espalier.errors import DataError, Problem

_ORDER = ("train", "val", "test")
_NOT_KEPT = ("truncated", "occluded")
_SETS = "imagesets/main/"


@dataclass
class _Object:
    name: str
    line: int
    corners: BoxXyxy  # as the file has them
    is_difficult: bool


@dataclass
class _Read:
    """What the .xml files say, before it is known from where they count."""

    pictures: dict[str, list[str]] = field(default_factory=dict)  # split → picture of each .xml
    files: dict[str, str] = field(default_factory=dict)  # picture → its .xml
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    objects: dict[str, list[_Object]] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)


class Voc:
    """Pascal VOC's XML."""

    name = "voc"
    help = "Pascal VOC: a picture and an .xml each, side by side or in JPEGImages/ and Annotations/"
    holds = frozenset({"box"})
    refers = False
    tells_classes = False
    by_stem = True

    def detect(self, place: Place) -> int:
        """Sure of .xml files whose first element is `annotation`."""
        files = [place.open(name) for name in _xml_names(place)[:3]] if place.is_folder else [place.path]
        if not place.is_folder and place.suffix != ".xml":
            return 0
        return 85 if files and all(root_tag(head(file)) == "annotation" for file in files) else 0

    def read(self, place: Place, options: Options) -> dict[str, Index]:
        """Pictures without an .xml are not part of the set; an .xml without an object is of a background picture."""
        home = place if place.is_folder else Place(place.folder)
        names = _xml_names(place) if place.is_folder else [storage.relative(place.path, home.path)]
        if not names:
            raise DataError(Problem(place.path, "no .xml file in it", expected=self.help))
        root, pictures = pictures_of(home, options.images)
        found = _read_all(home, names, pictures)
        if place.is_folder:
            _tell_others(found, pictures)
        if not found.pictures:
            found.pictures[UNSPLIT] = []  # what is wrong with every file is told with it
        shift = _first_pixel(found, place.path)
        numbers_of: dict[str, int] = {}
        rows = {split: _rows(found, split, shift, numbers_of) for split in _ORDER if split in found.pictures}
        classes = sorted(numbers_of)
        splits = {s: part.index(classes, root=root, source=place.path, format=self.name) for s, part in rows.items()}
        return with_findings(splits, found.notes.all(place.path))

    def place_pictures(self, index: Index, split: str) -> list[str]:
        """`JPEGImages/…`, all in one folder, as VOC's tools expect it."""
        return ["JPEGImages/" + bare_name(str(path)).replace("/", "_") for path in index.paths]

    def write(self, splits: Mapping[str, Index], names: Mapping[str, Sequence[str]], folder: Path) -> tuple[Loss, ...]:
        """`Annotations/…xml`, and `ImageSets/Main/…txt` with the pictures of each part."""
        lost = Lost()
        (folder / "Annotations").mkdir(parents=True, exist_ok=True)
        for split, index in splits.items():
            sizes = known_sizes(index)
            stems = [PurePosixPath(name).with_suffix("").name for name in names[split]]
            for row, name in enumerate(names[split]):
                text = _document(index, row, PurePosixPath(name).name, sizes[row], lost)
                (folder / "Annotations" / f"{stems[row]}.xml").write_text(text, encoding="utf-8")
            storage.write_atomic(folder / "ImageSets" / "Main" / f"{split}.txt", "".join(f"{s}\n" for s in stems))
        add_common(lost, splits)
        lost.add("classes that no picture has", unused_classes(splits))
        lost.add("class names that begin or end with a space", sum(c != c.strip() for c in _classes(splits)))
        return lost.told()


# ---- reading -------------------------------------------------------------------------------------------------------


def _xml_names(place: Place) -> list[str]:
    return [name for name in place.files if name.lower().endswith(".xml")]


def _read_all(home: Place, names: Sequence[str], pictures: Sequence[str]) -> _Read:
    found = _Read()
    beside: dict[tuple[str, ...], list[str]] = {}
    for picture in pictures:
        beside.setdefault(key(picture), []).append(picture)
    contents = read_all([home.open(name) for name in names])
    for name, split, content in zip(names, _splits(home, names), contents):
        path = home.open(name)
        try:
            if isinstance(content, Problem):
                raise DataError(content)
            item = document(path, content, root="annotation")
        except DataError as error:
            for problem in error.problems:
                found.notes.add("error", "malformed", problem.where, problem.what, "correct or delete the file")
            continue
        picture = _picture(item, name, beside.get(key(name), []))
        if picture in found.files:
            what = f"it is for {picture}, as is {found.files[picture]}"
            found.notes.add("error", "duplicate-id", path, what, "delete one of them")
            continue
        found.pictures.setdefault(split, []).append(picture)
        found.files[picture] = path
        found.sizes[picture] = _size(item)
        found.objects[picture] = _objects(item, path, found.notes)
    return found


def _splits(home: Place, names: Sequence[str]) -> list[str]:
    """By ImageSets/Main/train.txt and its like where there are any, else by folders."""
    lists = {}
    for name in home.files:
        folder, _, leaf = name.rpartition("/")
        split = SPLIT_NAMES.get(leaf[:-4].lower()) if leaf.endswith(".txt") else None
        if split and f"{folder}/".lower().endswith(_SETS):
            text = storage.read_bytes(home.open(name), limit=64 << 20).decode("utf-8-sig", "replace")
            for line in filter(None, map(str.strip, text.splitlines())):
                lists[line] = split
                lists.setdefault(line.split()[0], split)
    if not lists:
        return splits_of(names)
    return [lists.get(PurePosixPath(name).name[:-4], UNSPLIT) for name in names]


def _picture(annotation: Element, name: str, beside: Sequence[str]) -> str:
    """The picture beside the .xml, of several the one that it names; else what it names."""
    named = PurePosixPath(annotation.text_of("filename").replace("\\", "/")).name
    if beside:
        return next((picture for picture in beside if PurePosixPath(picture).name == named), beside[0])
    leaf = named if is_picture(named) else PurePosixPath(name).name[:-4] + ".jpg"
    return "/".join([*name.split("/")[:-1], leaf])


def _size(annotation: Element) -> tuple[int, int]:
    sides = numbers(annotation.text_of("size", side) for side in ("height", "width"))
    fine = sides is not None and all(1 <= side < 2**31 for side in sides)
    return (int(sides[0]), int(sides[1])) if sides is not None and fine else (UNKNOWN, UNKNOWN)


def _objects(annotation: Element, path: str, notes: Notes) -> list[_Object]:
    found: list[_Object] = []
    for item in annotation.all("object"):
        problem = _add(found, item)
        if problem:
            notes.add("error", "malformed", f"{path}:{item.line}", problem, "correct or delete the object")
        for word in _NOT_KEPT:
            if item.text_of(word) not in ("", "0"):
                notes.once("not-kept", word, path, f"objects marked {word} are kept, the mark is not")
        if item.child("part") or item.child("polygon"):
            notes.once("not-kept", "parts", path, "parts and polygons of objects are not kept")
    return found


def _add(found: list[_Object], item: Element) -> str | None:
    """Adds an object; or says what is wrong with it."""
    name = item.text_of("name")
    if not name:
        return "the object has no name"
    corners = numbers(item.text_of("bndbox", edge) for edge in ("xmin", "ymin", "xmax", "ymax"))
    if corners is None:
        return f"the box of '{name[:40]}' is not four numbers xmin, ymin, xmax, ymax"
    x1, y1, x2, y2 = corners
    found.append(_Object(name, item.line, (x1, y1, x2, y2), item.text_of("difficult") in ("1", "true", "True")))
    return None


def _first_pixel(found: _Read, source: str) -> float:
    """1 as VOC has it, or 0 when a box begins there."""
    begins = (edge for objects in found.objects.values() for item in objects for edge in item.corners[:2])
    if all(edge != 0 for edge in begins):
        return 1.0
    what = "boxes begin at 0, so the set does not count pixels from 1 as VOC does; its numbers are taken as edges"
    found.notes.add("info", "counts-from-zero", source, what, "see the guide on data if the boxes sit one pixel off")
    return 0.0


def _rows(found: _Read, split: str, shift: float, numbers_of: dict[str, int]) -> Rows:
    rows = Rows(numbers_of)
    for picture in found.pictures[split]:
        row = rows.picture(picture, size_hw=found.sizes[picture], file=found.files[picture])
        for item in found.objects[picture]:
            x1, y1, x2, y2 = item.corners
            box = (x1 - shift, y1 - shift, x2, y2)
            rows.label(row, item.name, box, crowd=item.is_difficult, line=item.line)
    return rows


def _tell_others(found: _Read, pictures: Sequence[str]) -> None:
    bare = [picture for picture in pictures if picture not in found.files]
    if bare:
        what = f"{len(bare)} pictures have no .xml and are left out: nobody said what they show"
        fix = "an .xml without an object makes a background picture"
        found.notes.add("info", "no-label-file", ", ".join(bare[:3]), what, fix)


# ---- writing -------------------------------------------------------------------------------------------------------


def _classes(splits: Mapping[str, Index]) -> tuple[str, ...]:
    return next(iter(splits.values())).classes


def _document(index: Index, row: int, name: str, size_hw: NDArray[np.int32], lost: Lost) -> str:
    height, width = (int(side) for side in size_hw)
    size = f"  <size><width>{width}</width><height>{height}</height></size>\n" if width != UNKNOWN else ""
    objects = (_object(index, m, lost) for m in range(int(index.offsets[row]), int(index.offsets[row + 1])))
    head_text = f"<annotation>\n  <folder>JPEGImages</folder>\n  <filename>{escape(name)}</filename>\n{size}"
    return f"{head_text}  <segmented>0</segmented>\n{''.join(objects)}</annotation>\n"


def _object(index: Index, m: int, lost: Lost) -> str:
    if np.isnan(index.box_xyxy[m, 0]):
        lost.add("labels without a box")
        return ""
    lost.add("outlines", bool(index.segments.kind(m)))
    x1, y1, x2, y2 = (float(edge) for edge in index.box_xyxy[m])
    edges = zip(("xmin", "ymin", "xmax", "ymax"), (x1 + 1, y1 + 1, x2, y2))
    box = "".join(f"<{edge}>{value:.4f}".rstrip("0").rstrip(".") + f"</{edge}>" for edge, value in edges)
    difficult = int(index.is_crowd[m])
    name = escape(index.classes[index.class_id[m]])
    return (
        f"  <object>\n    <name>{name}</name>\n    <difficult>{difficult}</difficult>\n"
        f"    <bndbox>{box}</bndbox>\n  </object>\n"
    )


FORMAT = Voc()
