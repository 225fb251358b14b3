"""CVAT's XML 1.1, for images and for video: boxes, polygons, masks, tags, tracks.

Coordinates are pixel edges from 0. A turned box keeps its corners as a polygon, and its box is the upright one around
them. Polygons of one label with the same group are one object in several parts. A video's frames are the pictures
`frame_000000`, …; a frame in which all tracks are outside is a background picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from espalier import storage
from espalier.data.findings import Notes
from espalier.data.formats.base import SPLIT_NAMES, UNSPLIT, Loss, Options, Place, parent, safe_name, split_in_name
from espalier.data.index import UNKNOWN, Index, with_findings
from espalier.data.lost import Lost, add_common
from espalier.data.outlines import as_text, extent, segment_of, turned_rectangle
from espalier.data.picture_sizes import known_sizes
from espalier.data.rows import NO_BOX, BoxXyxy, Rows, numbers
from espalier.data.sidecars import head
from espalier.data.xml_file import Element, pieces, root_tag
from espalier.errors import DataError, Problem
from espalier.vision.masks import decode_rle, segment_box
from espalier.vision.rle import placed

_ORDER = ("train", "val", "test")
_EDGES = ("xtl", "ytl", "xbr", "ybr")
_CROWD = ("is_crowd", "iscrowd", "crowd")
_NOT_KEPT = frozenset({"polyline", "points", "cuboid", "skeleton", "ellipse"})
_SHAPES = frozenset({"box", "polygon", "mask"})
_LARGEST_MASK = 64_000_000
_SAME_PX = 0.01


@dataclass
class _Reading:
    """What is known so far of a data set."""

    file: str
    split: str | None  # of the whole file, when its name says so
    rows: dict[str, Rows]
    numbers_of: dict[str, int]
    notes: Notes
    names: list[str] = field(default_factory=list)  # the labels as the file lists them
    frame_hw: tuple[int, int] = (UNKNOWN, UNKNOWN)
    frames: dict[int, int] = field(default_factory=dict)  # frame → its row
    subsets: dict[str, str] = field(default_factory=dict)  # picture → the folder it may lie in

    def part(self, subset: str) -> Rows:
        split = self.split or SPLIT_NAMES.get(subset.lower(), UNSPLIT)
        return self.rows.setdefault(split, Rows(self.numbers_of))


class Cvat:
    """CVAT's XML."""

    name = "cvat"
    help = "CVAT's annotations.xml (for images or for video, version 1.1), with the pictures in images/ or beside it"
    holds = frozenset({"label", "box", "polygon", "rle"})
    refers = True
    tells_classes = False
    by_stem = False

    def detect(self, place: Place) -> int:
        """Sure of an .xml whose first element is `annotations`."""
        if not place.is_folder:
            return 92 if place.suffix == ".xml" and root_tag(head(place.path)) == "annotations" else 0
        return 88 if _label_files(place) else 0

    def read(self, place: Place, options: Options) -> dict[str, Index]:
        """The parts are the subsets of one file, or files for each."""
        files: Mapping[str, str] = _label_files(place) if place.is_folder else {"": place.path}
        if not files:
            raise DataError(Problem(place.path, "no CVAT .xml file in it", expected=self.help))
        notes, rows, numbers_of = Notes(), dict[str, Rows](), dict[str, int]()
        readings = []
        for split, path in files.items():
            reading = _Reading(path, split or None, rows, numbers_of, notes)
            _read(reading)
            readings.append(reading)
        listed = [name for reading in readings for name in reading.names]
        classes = list(dict.fromkeys([*listed, *sorted(numbers_of)]))
        if not rows:
            rows[UNSPLIT] = Rows(numbers_of)
        first = readings[0]
        subsets = {picture: subset for reading in readings for picture, subset in reading.subsets.items()}
        root = _root(parent(first.file), rows, subsets, options)
        found = {
            split: rows[split].index(classes, root=root, source=files.get(split, first.file), format=self.name)
            for split in _ORDER
            if split in rows
        }
        return with_findings(found, notes.all(place.path))

    def place_pictures(self, index: Index, split: str) -> list[str]:
        """`images/split/…`."""
        return ["/".join(filter(None, ("images", split, safe_name(str(path))))) for path in index.paths]

    def write(self, splits: Mapping[str, Index], names: Mapping[str, Sequence[str]], folder: Path) -> tuple[Loss, ...]:
        """One `annotations.xml`; the parts are its subsets."""
        lost = Lost()
        classes = next(iter(splits.values())).classes
        has_crowds = any(bool(index.is_crowd.any()) for index in splits.values())
        text = [_opening(classes, has_crowds=has_crowds)]
        number, groups = 0, iter(range(1, 1 << 62))
        for split, index in splits.items():
            sizes = known_sizes(index)
            for row, name in enumerate(names[split]):
                text.append(_image(index, row, number, name, split, sizes[row].tolist(), groups, lost))
                number += 1
        storage.write_atomic(folder / "annotations.xml", "".join([*text, "</annotations>\n"]))
        add_common(lost, splits)
        lost.add("class names that begin or end with a space", sum(name != name.strip() for name in classes))
        return lost.told()


# ---- reading -------------------------------------------------------------------------------------------------------


def _label_files(place: Place) -> dict[str, str]:
    """Split → file, by the names of file or folder; one file is all ('')."""
    names = [name for name in place.files if name.lower().endswith(".xml") and name.count("/") <= 1][:20]
    names = [name for name in names if root_tag(head(place.open(name))) == "annotations"]
    if len(names) == 1:
        return {"": place.open(names[0])}
    found: dict[str, str] = {}
    for name in names:
        split = split_in_name(name) or split_in_name(name.split("/")[0])
        if split:
            found.setdefault(split, place.open(name))
    return {split: found[split] for split in _ORDER if split in found}


def _read(reading: _Reading) -> None:
    for piece in pieces(reading.file, root="annotations"):
        if piece.tag == "meta":
            reading.names = [name for label in _labels(piece) if (name := label.text_of("name"))]
            sides = numbers(piece.text_of("original_size", side) for side in ("height", "width"))
            reading.frame_hw = _whole_size(sides)
        elif piece.tag == "image":
            _read_image(reading, piece)
        elif piece.tag == "track":
            _read_track(reading, piece)


def _labels(element: Element) -> Iterator[Element]:
    """Every `labels/label` below, whether of a task, a job or a project."""
    for child in element.children:
        if element.tag == "labels" and child.tag == "label":
            yield child
        else:
            yield from _labels(child)


def _whole_size(sides: Sequence[float] | None) -> tuple[int, int]:
    fine = sides is not None and all(1 <= side < 2**31 for side in sides)
    return (int(sides[0]), int(sides[1])) if sides is not None and fine else (UNKNOWN, UNKNOWN)


def _read_image(reading: _Reading, image: Element) -> None:
    name = image.attributes.get("name", "").replace("\\", "/").strip()
    if not name:
        reading.notes.add("error", "malformed", f"{reading.file}:{image.line}", "the image has no name")
        return
    size_hw = _whole_size(numbers(image.attributes.get(side, "") for side in ("height", "width")))
    subset = image.attributes.get("subset", "")
    reading.subsets[name] = subset
    rows = reading.part(subset)
    row = rows.picture(name, size_hw=size_hw)
    for shapes in _objects(image.children):
        _add_told(reading, rows, row, shapes, shapes[0].attributes.get("label", ""))


def _objects(shapes: Sequence[Element]) -> list[list[Element]]:
    """The shapes, those polygons together that are parts of one object."""
    objects: dict[object, list[Element]] = {}
    for place, shape in enumerate(shapes):
        group = shape.attributes.get("group_id", "0")
        grouped = shape.tag == "polygon" and group not in ("", "0")
        objects.setdefault((group, shape.attributes.get("label")) if grouped else place, []).append(shape)
    return list(objects.values())


def _read_track(reading: _Reading, track: Element) -> None:
    rows = reading.part("")
    for shape in track.children:
        frame = shape.attributes.get("frame", "")
        if not (frame.isascii() and frame.isdigit() and len(frame) < 10):
            reading.notes.add("error", "malformed", f"{reading.file}:{shape.line}", "the shape of a track has no frame")
            continue
        row = reading.frames.get(int(frame))
        if row is None:
            row = rows.picture(f"frame_{int(frame):06d}", size_hw=reading.frame_hw)
            reading.frames[int(frame)] = row
        if shape.attributes.get("outside") != "1":
            _add_told(reading, rows, row, [shape], track.attributes.get("label", ""))


def _add_told(reading: _Reading, rows: Rows, row: int, shapes: Sequence[Element], label: str) -> None:
    where = f"{reading.file}:{shapes[0].line}"
    if shapes[0].tag in _NOT_KEPT:
        reading.notes.once("not-kept", shapes[0].tag, where, f"shapes of the kind {shapes[0].tag} are not kept")
        return
    if any(_attribute(shape) for shape in shapes):
        reading.notes.once("not-kept", "attributes", where, "attributes other than is_crowd are not kept")
    problem = _add(rows, row, shapes, label.strip())
    if problem:
        reading.notes.add("error", "malformed", where, problem, "correct or delete the shape")


def _attribute(shape: Element) -> bool:
    return any(child.attributes.get("name", "").lower() not in _CROWD for child in shape.children)


def _add(rows: Rows, row: int, shapes: Sequence[Element], label: str) -> str | None:
    """Adds an object; or says what is wrong with it."""
    shape = shapes[0]
    if shape.tag not in _SHAPES | {"tag"}:
        return f"<{shape.tag[:40]}> is no shape that is known here"
    if not label:
        return f"the {shape.tag} has no label"
    crowd = any(
        child.attributes.get("name", "").lower() in _CROWD and child.text.strip().lower() in ("true", "1")
        for child in shape.children
    )
    if shape.tag == "tag":
        rows.label(row, label, line=shape.line)
        return None
    found = _placed(shapes, rows.size_hw(row))
    if isinstance(found, str):
        return found
    rows.label(row, label, found[0], crowd=crowd, line=shape.line, outline=found[1])
    return None


def _placed(shapes: Sequence[Element], size_hw: tuple[int, int]) -> tuple[BoxXyxy, bytes] | str:
    """Box and outline of the parts of an object; or what is wrong with them."""
    if shapes[0].tag == "box":
        return _box(shapes[0])
    if shapes[0].tag == "mask":
        return _mask(shapes[0], size_hw)
    polygons = [numbers(shape.attributes.get("points", "").replace(";", ",").split(",")) for shape in shapes]
    fine = [polygon for polygon in polygons if polygon and len(polygon) >= 6 and len(polygon) % 2 == 0]
    if len(fine) < len(polygons):
        return "the points of a polygon are not x,y;x,y;x,y… of three points or more"
    return extent(fine), as_text(fine)


def _box(shape: Element) -> tuple[BoxXyxy, bytes] | str:
    edges = numbers(shape.attributes.get(edge, "") for edge in _EDGES)
    turn = numbers([shape.attributes.get("rotation", "0")])
    if edges is None or turn is None:
        return "the box is not four numbers xtl, ytl, xbr, ybr"
    x1, y1, x2, y2 = edges
    if turn[0] % 360 == 0:
        return (x1, y1, x2, y2), b""
    corners = turned_rectangle(x1, y1, x2 - x1, y2 - y1, turn[0], ((x1 + x2) / 2, (y1 + y2) / 2))
    return extent([corners]), as_text([corners])


def _mask(shape: Element, size_hw: tuple[int, int]) -> tuple[BoxXyxy, bytes] | str:
    """CVAT's run lengths go along the rows of the mask's own box, beginning with a run outside."""
    words = [*(shape.attributes.get(side, "") for side in ("left", "top", "width", "height"))]
    try:
        left, top, width, height = map(int, words)
        runs = np.array([int(word) for word in shape.attributes.get("rle", "").split(",")], np.int64)
    except (ValueError, OverflowError):
        return "the mask is not whole numbers: left, top, width, height, and rle of run lengths"
    inside = left >= 0 and top >= 0 and left + width <= size_hw[1] and top + height <= size_hw[0]
    if not inside or width <= 0 or height <= 0 or width * height > _LARGEST_MASK:
        return f"a mask of {width} × {height} px at ({left}, {top}) is none of its picture"
    if runs.min() < 0 or runs.max() > width * height or runs.sum() != width * height:
        return f"the run lengths of a mask do not add up to {width} × {height} px"
    mask_HW = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    rle = placed(mask_HW, left, top, size_hw, compressed=False)
    x1, y1, x2, y2 = segment_box(rle).tolist() if mask_HW.any() else NO_BOX
    return (x1, y1, x2, y2), as_text(rle)


def _root(here: str, rows: Mapping[str, Rows], subsets: Mapping[str, str], options: Options) -> str:
    """The folder that names are relative to. Frames, and pictures in folders of their subsets, get their whole name."""
    folders = [options.images] if options.images else [here, storage.join(here, "images")]
    if any(path.startswith("frame_") and "." not in path for part in rows.values() for path in part.paths):
        _name_frames(rows, folders)
    paths = [path for part in rows.values() for path in part.paths[:2]]
    for folder in folders:
        if any(storage.exists(storage.join(folder, path)) for path in paths):
            return folder
        if any(storage.exists(storage.join(folder, f"{subsets.get(path)}/{path}")) for path in paths):
            for part in rows.values():
                part.paths = [f"{subsets.get(path)}/{path}" if subsets.get(path) else path for path in part.paths]
            return folder
    return folders[0]


def _name_frames(rows: Mapping[str, Rows], folders: Sequence[str]) -> None:
    """The endings of a video's frames, as they lie in the folder; CVAT's own where none are there."""
    there: dict[str, str] = {}
    for folder in folders:
        if storage.is_dir(folder):
            for file in storage.list_files(folder, recursive=False):
                name = storage.relative(file, folder)
                there.setdefault(PurePosixPath(name).stem, name)
    for part in rows.values():
        part.paths = [there.get(path, f"{path}.PNG") if "." not in path else path for path in part.paths]


# ---- writing -------------------------------------------------------------------------------------------------------


def _opening(classes: Sequence[str], *, has_crowds: bool) -> str:
    crowd = (
        "<attribute><name>is_crowd</name><mutable>False</mutable><input_type>checkbox</input_type>"
        "<default_value>false</default_value><values>false</values></attribute>"
    )
    attributes = f"<attributes>{crowd if has_crowds else ''}</attributes>"
    labels = "".join(f"      <label><name>{escape(name)}</name>{attributes}</label>\n" for name in classes)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
        f"  <meta><task><mode>annotation</mode>\n    <labels>\n{labels}    </labels>\n  </task></meta>\n"
    )


def _image(
    index: Index,
    row: int,
    number: int,
    name: str,
    split: str,
    size_hw: Sequence[int],
    groups: Iterator[int],
    lost: Lost,
) -> str:
    shapes = (
        shape
        for m in range(int(index.offsets[row]), int(index.offsets[row + 1]))
        for shape in _shapes(index, m, groups, lost)
    )
    size = f' width="{size_hw[1]}" height="{size_hw[0]}"' if size_hw[0] != UNKNOWN else ""
    attributes = f'id="{number}" name={quoteattr(name.removeprefix("images/"))} subset="{split}"{size}'
    return f"  <image {attributes}>\n{''.join(shapes)}  </image>\n"


def _shapes(index: Index, m: int, groups: Iterator[int], lost: Lost) -> Iterator[str]:
    label = quoteattr(index.classes[index.class_id[m]])
    box = index.box_xyxy[m].astype(np.float64)
    segment = segment_of(index, m)
    crowd = '<attribute name="is_crowd">true</attribute>' if index.is_crowd[m] else ""
    common = f'label={label} source="manual" occluded="0" z_order="0"'
    if segment and not np.isnan(box[0]):
        differs = bool(np.abs(box - segment_box(segment)).max() > _SAME_PX)
        lost.add("boxes that are not their outline's extent, which is read in their place", differs)
    if isinstance(segment, dict):
        yield f"    <mask {common} {_cropped(segment)}>{crowd}</mask>\n"
    elif segment:
        group = f' group_id="{next(groups)}"' if len(segment) > 1 else ""
        for polygon in segment:
            points = ";".join(f"{_text(x)},{_text(y)}" for x, y in zip(polygon[::2], polygon[1::2]))
            yield f'    <polygon {common}{group} points="{points}">{crowd}</polygon>\n'
    elif np.isnan(box[0]):
        lost.add("crowds without a box, now mere labels", bool(crowd))
        yield f'    <tag label={label} source="manual"></tag>\n'
    else:
        edges = " ".join(f'{edge}="{_text(value)}"' for edge, value in zip(_EDGES, box))
        yield f"    <box {common} {edges}>{crowd}</box>\n"


def _cropped(rle: dict[str, Any]) -> str:
    """CVAT's attributes of a mask: its own box, and the run lengths along the rows in it."""
    mask_HW = decode_rle(rle)
    left, top, right, bottom = (int(edge) for edge in segment_box(rle)) if mask_HW.any() else (0, 0, 1, 1)
    flat = mask_HW[top:bottom, left:right].reshape(-1)
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]])
    runs = [*([0] if flat[0] else []), *np.diff(bounds).tolist()]
    size = f'left="{left}" top="{top}" width="{right - left}" height="{bottom - top}"'
    return f'rle="{", ".join(map(str, runs))}" {size}'


def _text(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")


FORMAT = Cvat()
