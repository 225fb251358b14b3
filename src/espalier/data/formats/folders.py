"""Pictures in a folder for each class: `class/picture.jpg`, or `train/class/picture.jpg` and `val/class/…`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from espalier import storage
from espalier.data.findings import Finding
from espalier.data.formats.base import SPLIT_NAMES, UNSPLIT, Loss, Options, Place, safe_name
from espalier.data.index import Index, assemble, with_findings
from espalier.errors import DataError, Problem


class Folders:
    """A folder for each class."""

    name = "folders"
    help = "a folder with a folder of pictures for each class (train/, val/ and test/ above them are understood)"
    holds = frozenset({"label"})
    refers = False
    tells_classes = False
    by_stem = False

    def detect(self, place: Place) -> int:
        """Half sure of any folder whose pictures lie in folders of their own."""
        return 50 if any("/" in name for name in place.pictures) else 0

    def read(self, place: Place, options: Options) -> dict[str, Index]:
        """The class is the first folder below the split's."""
        if not place.is_folder:
            raise DataError(Problem(place.path, "not a folder", expected=self.help))
        root, names = _below_wrapper(place)
        parts = _by_split(names)
        classes = _class_names(parts)
        if not classes:
            raise DataError(
                Problem(place.path, f"{len(names)} pictures, but none in a class folder", expected=self.help)
            )
        found = {split: _index(place, root, pictures, classes) for split, pictures in parts.items()}
        first = next(iter(found))
        return found | with_findings({first: found[first]}, [*found[first].findings, *_empty(root, classes)])

    def place_pictures(self, index: Index, split: str) -> list[str]:
        """`split/class/name`; a picture of several classes goes where its first one is."""
        return ["/".join(filter(None, (split, _class_of(index, row), _leaf(index, row)))) for row in range(len(index))]

    def write(self, splits: Mapping[str, Index], names: Mapping[str, Sequence[str]], folder: Path) -> tuple[Loss, ...]:
        """The folders are the labels; says how many boxes, outlines and further labels they can't hold."""
        classes = next(iter(splits.values())).classes
        lost = {
            "classes under another name, since theirs can't be a folder's": sum(class_folder(c) != c for c in classes),
            "classes put together with another, since their folders have one name": len(classes)
            - len({class_folder(name).lower() for name in classes}),
        }
        for index in splits.values():
            for what, count in _lost(index).items():
                lost[what] = lost.get(what, 0) + count
        return tuple(Loss(what, count) for what, count in lost.items() if count)


def _below_wrapper(place: Place) -> tuple[str, list[str]]:
    """The folder that holds the class folders, and its pictures: a zip or folder often has one folder around it all."""
    root, names = place.path, list(place.pictures)
    heads = {name.split("/")[0] for name in names}
    if len(heads) == 1 and heads.isdisjoint(SPLIT_NAMES) and all(name.count("/") > 1 for name in names):
        return place.open(heads.pop()), [name.split("/", 1)[1] for name in names]
    return root, names


def _by_split(names: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Split → (path, class) of its pictures; the class is '' for a picture in no class folder."""
    heads = {name.split("/")[0] for name in names if "/" in name}
    parted = bool(heads) and all(head.lower() in SPLIT_NAMES for head in heads)
    parts: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        folders = name.split("/")[:-1]
        split = SPLIT_NAMES[folders.pop(0).lower()] if parted and folders else UNSPLIT
        parts.setdefault(split, []).append((name, folders[0] if folders else ""))
    order = ("train", "val", "test")
    return {split: parts[split] for split in order if split in parts}


def _class_names(parts: Mapping[str, Sequence[tuple[str, str]]]) -> list[str]:
    return sorted({label for found in parts.values() for _, label in found if label})


def _index(place: Place, root: str, found: Sequence[tuple[str, str]], classes: Sequence[str]) -> Index:
    number = {name: position for position, name in enumerate(classes)}
    labelled = [(path, label) for path, label in found if label]
    return assemble(
        root=root,
        source=place.path,
        format="folders",
        paths=[path for path, _ in labelled],
        classes=classes,
        image_row=np.arange(len(labelled)),
        class_id=np.array([number[label] for _, label in labelled], np.int64),
        findings=[_loose(path) for path, label in found if not label],
    )


def _loose(path: str) -> Finding:
    return Finding("warning", "no-class", path, "the picture is in no class folder and is left out", "move it into one")


def _empty(root: str, classes: Sequence[str]) -> list[Finding]:
    """Folders where a class's would lie that have no picture in them, unless another part has pictures of the class."""
    names = [name.split("/") for name in storage.list_folders(root)]
    parted = any(name[0].lower() in SPLIT_NAMES for name in names) and not set(map(str.lower, classes)) & set(
        SPLIT_NAMES
    )
    depth = 2 if parted else 1
    bare = ["/".join(name) for name in names if len(name) == depth and name[-1] not in classes]
    what = "the folder has no picture in it, so there is no such class"
    fix = "put pictures into it, or delete it"
    return [Finding("warning", "empty-class-folder", storage.join(root, name), what, fix) for name in bare]


def _class_of(index: Index, row: int) -> str:
    start, stop = index.offsets[row], index.offsets[row + 1]
    return class_folder(index.classes[index.class_id[start]]) if stop > start else "_without_label"


def class_folder(label: str) -> str:
    """The class's name as that of a folder that readers see: none that is hidden, and none inside another."""
    name = safe_name(label.replace("/", "_").replace("\\", "_"))
    return f"_{name[1:]}" if name.startswith(".") else name.rstrip(". ") or "_"


def _leaf(index: Index, row: int) -> str:
    """The picture's name; with its folders when it comes from another layout, so that names stay apart."""
    name = safe_name(str(index.paths[row]))
    return name.rpartition("/")[2] if index.format == "folders" else name.replace("/", "_")


def _lost(index: Index) -> dict[str, int]:
    per_picture = np.diff(index.offsets)
    return {
        "boxes": int((~np.isnan(index.box_xyxy[:, 0])).sum()),
        "outlines": int((index.segments.stop_M > index.segments.start_M).sum()),
        "ignored regions": index.ignored_count(),
        "further labels of pictures that have more than one": int(np.maximum(per_picture - 1, 0).sum()),
        "pictures without a label, now in the folder _without_label": int((per_picture == 0).sum()),
        "classes that no picture has": int((index.picture_counts() == 0).sum()) if len(index) else 0,
        "groups": 0 if index.group is None else len(index),
    }


FORMAT = Folders()
