"""COCO's JSON: boxes, polygons, run-length masks, crowds, any category ids."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from espalier import storage
from espalier.data.findings import Finding
from espalier.data.formats.base import UNSPLIT, Loss, Options, Place, parent, picture_root, safe_name, split_in_name
from espalier.data.index import UNKNOWN, Index, assemble
from espalier.data.outlines import segment_of
from espalier.data.segments import Segments
from espalier.errors import DataError, Problem
from espalier.vision.masks import segment_area

if TYPE_CHECKING:
    from espalier.data.coco_file import CocoFile, Key

_MARKS = (b'"annotations"', b'"images"', b'"categories"')
_SNIFFED_BYTES = 1 << 16


class Coco:
    """COCO's JSON."""

    name = "coco"
    help = "a COCO .json file, or a folder with one for each of train, val and test (Roboflow's layout too)"
    holds = frozenset({"label", "box", "polygon", "rle"})
    refers = True
    tells_classes = True
    by_stem = False

    def detect(self, place: Place) -> int:
        """Sure of a .json file that speaks of images or annotations."""
        if not place.is_folder:
            if place.suffix != ".json":
                return 0
            return 90 if _speaks_coco(place.path) else 5
        files = _label_files(place)
        return 80 if files and all(_speaks_coco(file) for file in files.values()) else 0

    def read(self, place: Place, options: Options) -> dict[str, Index]:
        """A file is one split; a folder has a file for each."""
        from espalier.data.coco_file import read_file

        paths = _label_files(place) if place.is_folder else {UNSPLIT: place.path}
        if not paths:
            raise DataError(Problem(place.path, "no COCO .json file in it", expected=self.help))
        files = {split: read_file(path) for split, path in paths.items()}
        classes = _classes(files.values())
        return {split: _index(file, split, classes, options) for split, file in files.items()}

    def place_pictures(self, index: Index, split: str) -> list[str]:
        """`images/split/…`."""
        return ["/".join(filter(None, ("images", split, safe_name(str(path))))) for path in index.paths]

    def write(self, splits: Mapping[str, Index], names: Mapping[str, Sequence[str]], folder: Path) -> tuple[Loss, ...]:
        """`train.json`, `val.json`, `test.json`; groups are kept in a field of our own."""
        import msgspec

        for split, index in splits.items():
            told = _ignored_as_crowds(index)
            storage.write_atomic(folder / f"{split}.json", msgspec.json.encode(_document(told, names[split])))
        regions = sum(index.ignored_count() for index in splits.values())
        return (Loss("ignored regions, written as a crowd of each class", regions),) if regions else ()

    def write_predictions(
        self, index: Index, score_M: NDArray[Any], names: Sequence[str], folder: Path, *, model: str
    ) -> tuple[Loss, ...]:
        """`train.json`, a data set whose annotations have a score, and `results.json`, COCO's list of results."""
        import msgspec

        document = _document(index, names)
        for item, score in zip(document["annotations"], score_M, strict=True):
            item["score"] = round(float(score), 6)
        storage.write_atomic(folder / f"{UNSPLIT}.json", msgspec.json.encode({"info": {"model": model}, **document}))
        kept = ("image_id", "category_id", "bbox", "segmentation", "score")
        results = [{word: item[word] for word in kept if word in item} for item in document["annotations"]]
        storage.write_atomic(folder / "results.json", msgspec.json.encode(results))
        return ()


# ---- reading -------------------------------------------------------------------------------------------------------


def _speaks_coco(path: str) -> bool:
    """Are COCO's words near the beginning or the end of the file?"""
    with storage.open_read(path) as file:
        head = file.read(_SNIFFED_BYTES)
        size = file.seek(0, 2)
        file.seek(max(0, size - _SNIFFED_BYTES))
        ends = head + file.read(_SNIFFED_BYTES)
    return ends.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and any(mark in ends for mark in _MARKS)


def _label_files(place: Place) -> dict[str, str]:
    """Split → label file: by the file's name, or by its folder's when it is Roboflow's; a single file is enough."""
    names = [name for name in place.files if name.lower().endswith(".json") and name.count("/") <= 2]
    instances = [name for name in names if PurePosixPath(name).name.startswith("instances_")]
    found: dict[str, str] = {}
    for name in instances or names:
        folder = PurePosixPath(name).parent.name
        split = split_in_name(name) or (split_in_name(folder) if name.endswith(".coco.json") else None)
        if split:
            found.setdefault(split, place.open(name))
    if not found and len(names) == 1:
        return {UNSPLIT: place.open(names[0])}
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def _classes(files: Any) -> dict[str, Key]:
    """Class name → the source's id: sorted by id; what only a later file has comes after."""
    classes: dict[str, Key] = {}
    for file in files:
        for category in sorted(file.categories, key=lambda c: (isinstance(c.id, str), c.id)):
            classes.setdefault(category.name, category.id)
    return classes


def _index(file: CocoFile, split: str, classes: Mapping[str, Key], options: Options) -> Index:
    number = {name: position for position, name in enumerate(classes)}
    table = np.array([number[category.name] for category in file.categories], np.int64)
    pictures = file.pictures
    has_groups = options.group in (None, "group") and any(p.group for p in pictures)
    paths = [picture.file_name for picture in pictures]
    return assemble(
        root=options.images or picture_root(_roots(file.path, split), paths),
        source=file.path,
        format="coco",
        paths=paths,
        classes=list(classes),
        class_ids=_class_ids(classes),
        image_row=file.image_row,
        class_id=table[file.class_row] if len(table) else file.class_row,
        box_xyxy=file.box_xyxy,
        is_crowd=file.is_crowd,
        annotation_id=file.annotation_id,
        segments=file.segments,
        size_hw=_sizes(file),
        image_id=_picture_ids([picture.id for picture in pictures]),
        group=[picture.group or "" for picture in pictures] if has_groups else None,
        area=file.area,
        unlabelled=_unlabelled(file, table, len(classes)),
        findings=[*file.findings, *_same_names(file), *_same_ids(file)],
    )


def _unlabelled(file: CocoFile, class_of: NDArray[np.int64], classes: int) -> NDArray[np.bool_] | None:
    """(N, C + 1) by LVIS's rule: of a picture that lists what it lacks, all else that it doesn't show is unlabelled."""
    pictures = file.pictures
    listed = np.array([picture.neg_category_ids is not None for picture in pictures], np.bool_)
    if not listed.any() and not any(picture.not_exhaustive_category_ids for picture in pictures):
        return None
    place = {str(category.id): int(number) for category, number in zip(file.categories, class_of)}
    out = np.zeros((len(pictures), classes + 1), np.bool_)
    out[listed] = True
    out[file.image_row, class_of[file.class_row] if len(class_of) else file.class_row] = False
    for row, picture in enumerate(pictures):
        for said, keys in ((False, picture.neg_category_ids), (True, picture.not_exhaustive_category_ids)):
            out[row, [place[str(key)] for key in keys or () if str(key) in place]] = said
    return out


def _roots(path: str, split: str) -> list[str]:
    """Where pictures are usually kept, seen from the label file."""
    here, above = parent(path), parent(parent(path))
    tail = PurePosixPath(path.split("::")[0].replace("\\", "/")).stem.removeprefix("instances_")
    bases = [here, storage.join(here, "images"), above, storage.join(above, "images")]
    return [*bases, *(storage.join(base, name) for base in bases for name in dict.fromkeys((tail, split)))]


def _class_ids(classes: Mapping[str, Key]) -> NDArray[np.int64]:
    ids = [key for key in classes.values() if isinstance(key, int) and abs(key) < 2**62]
    whole = len(ids) == len(classes) == len(set(ids))
    return np.array(ids, np.int64) if whole else np.arange(1, len(classes) + 1)


def _picture_ids(ids: Sequence[Key]) -> NDArray[np.int64]:
    """The ids, or the rows when they aren't all numbers."""
    if set(map(type, ids)) == {int}:
        with contextlib.suppress(OverflowError):
            return np.fromiter(ids, np.int64, len(ids))
    return np.arange(len(ids))


def _sizes(file: CocoFile) -> NDArray[np.int32]:
    """(N, 2) height and width; UNKNOWN for what is missing or no size."""
    sides = ((picture.height or UNKNOWN, picture.width or UNKNOWN) for picture in file.pictures)
    sizes = np.fromiter(itertools.chain.from_iterable(sides), np.float64, 2 * len(file.pictures)).reshape(-1, 2)
    sizes[(sizes < 1) | (sizes >= 2**31)] = UNKNOWN
    return sizes.astype(np.int32)


def _same_names(file: CocoFile) -> list[Finding]:
    names = [category.name for category in file.categories]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    text = "several categories have this name; they are read as one class"
    return [Finding("warning", "duplicate-class", f"{file.path}: category '{name}'", text) for name in twice]


def _same_ids(file: CocoFile) -> list[Finding]:
    values, counts = np.unique(file.annotation_id, return_counts=True)
    text = "annotations share this id; all are kept, but other programs keep only one"
    return [
        Finding(
            "warning", "duplicate-id", f"{file.path}: annotation {value}", f"{count} {text}", "give each its own id"
        )
        for value, count in zip(values[counts > 1][:1000], counts[counts > 1][:1000])
    ]


# ---- writing -------------------------------------------------------------------------------------------------------


def _ignored_as_crowds(index: Index) -> Index:
    """COCO knows crowds of a class only; one of each class in the same place means the same."""
    count = index.ignored_count()
    if not count:
        return index
    classes = len(index.classes)
    regions = np.concatenate([index.ignored_xyxy(row) for row in range(len(index))])
    rows = np.repeat(np.arange(len(index)), [len(index.ignored_xyxy(row)) for row in range(len(index))])
    fresh = int(index.annotation_id.max(initial=0)) + 1 + np.arange(count * classes)
    return assemble(
        root=index.root, source=index.source, format=index.format, paths=list(index.paths), classes=index.classes,
        class_ids=index.class_ids, size_hw=index.size_hw, image_id=index.image_id,
        group=None if index.group is None else list(index.group),
        image_row=np.concatenate([index.image_row, np.repeat(rows, classes)]),
        class_id=np.concatenate([index.class_id, np.tile(np.arange(classes), count)]),
        box_xyxy=np.concatenate([index.box_xyxy, np.repeat(regions, classes, axis=0)]),
        is_crowd=np.concatenate([index.is_crowd, np.ones(count * classes, np.bool_)]),
        annotation_id=np.concatenate([index.annotation_id, fresh]),
        segments=Segments.join([index.segments, Segments.empty(count * classes)]),
        area=None if index.area is None else np.concatenate([index.area, np.full(count * classes, np.nan)]),
        unlabelled=index.unlabelled,
    )  # fmt: skip


def _document(index: Index, names: Sequence[str]) -> dict[str, Any]:
    ids = _unique_ids(index.image_id)
    return {
        "images": [_picture(index, row, names[row], int(ids[row])) for row in range(len(index))],
        "annotations": _labels(index, ids),
        "categories": [{"id": int(i), "name": name} for i, name in zip(index.class_ids, index.classes)],
    }


def _picture(index: Index, row: int, name: str, number: int) -> dict[str, Any]:
    height, width = (int(side) for side in index.size_hw[row])
    item: dict[str, Any] = {"id": number, "file_name": name}
    if height != UNKNOWN:
        item |= {"width": width, "height": height}
    if index.group is not None:
        item["group"] = str(index.group[row])
    return item | _partly(index, row)


def _partly(index: Index, row: int) -> dict[str, list[int]]:
    """LVIS's fields of a picture that was not labelled for all classes."""
    if index.unlabelled is None or not index.unlabelled[row].any():
        return {}
    shown = np.zeros(len(index.classes), np.bool_)
    shown[index.class_id[index.offsets[row] : index.offsets[row + 1]]] = True
    out = index.unlabelled[row, :-1]
    fields = {"neg_category_ids": ~out & ~shown, "not_exhaustive_category_ids": out & shown}
    return {name: index.class_ids[which].tolist() for name, which in fields.items()}


def _labels(index: Index, ids: NDArray[np.int64]) -> list[dict[str, Any]]:
    import msgspec

    numbers = _unique_ids(index.annotation_id)
    numbers = numbers + (len(numbers) > 0 and numbers.min() == 0)  # pycocotools takes a 0 for "no match"
    pictures = ids[index.image_row]
    items = []
    for m in range(len(index.class_id)):
        item: dict[str, Any] = {
            "id": int(numbers[m]), "image_id": int(pictures[m]), "category_id": int(index.class_ids[index.class_id[m]]),
            "iscrowd": int(index.is_crowd[m]),
        }  # fmt: skip
        if not np.isnan(index.box_xyxy[m, 0]):
            x, y, right, bottom = (float(edge) for edge in index.box_xyxy[m])
            item["bbox"] = [round(v, 4) for v in (x, y, right - x, bottom - y)]
            item["area"] = round((right - x) * (bottom - y), 4)
        if index.segments.kind(m):
            item["segmentation"] = msgspec.Raw(index.segments.raw(m))
            item["area"] = round(segment_area(segment_of(index, m), where=index.where(m)), 4)
        if index.area is not None and not np.isnan(index.area[m]):
            item["area"] = float(index.area[m])
        items.append(item)
    return items


def _unique_ids(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The ids as they are, or 1, 2, 3, … when some are used twice."""
    return ids if len(np.unique(ids)) == len(ids) else np.arange(1, len(ids) + 1)


FORMAT = Coco()
