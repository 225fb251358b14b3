"""Where a YOLO data set's pictures, text files and class names are: by its data.yaml, or by its folders."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from espalier import storage
from espalier.data.findings import Notes
from espalier.data.formats.base import SPLIT_NAMES, Options, Place, is_picture, parent
from espalier.data.sidecars import by_key, head, key, pictures_of, splits_of
from espalier.errors import DataError, Problem
from espalier.spec.yaml_text import parse

HELP = "data.yaml, images/ and labels/ with a .txt for each picture (boxes or outlines, as Ultralytics reads them)"
YAML = (".yaml", ".yml")
_NAME_FILES = ("classes.txt", "obj.names", "labels.txt")
_NO_LABELS = re.compile(
    r"(classes|labels|names|train|val|valid|test|trainval|readme.*|requirements)\.txt$", re.IGNORECASE
)


@dataclass(frozen=True)
class Layout:
    """What a data.yaml says, or what the folders say where there is none."""

    root: str
    source: str
    names: dict[int, str]
    pictures: dict[str, list[str]]  # split → paths relative to root, absolute or addresses
    labels: dict[str, str | None]  # picture → its label file, or None
    keypoints: int = 0  # numbers behind a box that are no outline
    notes: Notes = field(default_factory=Notes)


def speaks_yolo(path: str) -> bool:
    keys = set(re.findall(rb"^(names|nc|train|val|test|path)\s*:", head(path, 1 << 16), re.MULTILINE))
    return b"names" in keys and len(keys) > 1


def yaml_of(place: Place) -> str | None:
    """The data.yaml in a folder, or in the only folder around it all."""
    names = [name for name in place.files if name.lower().endswith(YAML) and name.count("/") <= 1]
    names.sort(key=lambda name: (name.count("/"), PurePosixPath(name).stem.lower() not in ("data", "dataset"), name))
    return next((place.open(name) for name in names if speaks_yolo(place.open(name))), None)


def looks_right(path: str) -> bool:
    """Is the first line a class and numbers?"""
    first = head(path).lstrip(b"\xef\xbb\xbf").split(b"\n", 1)[0].split()
    try:
        values = [float(word) for word in first]
    except ValueError:
        return False
    return not first or (len(values) >= 5 and values[0] == int(values[0]) and all(-1 <= v <= 2 for v in values[1:5]))


def pairs(pictures: Sequence[str], files: Sequence[str]) -> dict[str, str | None]:
    texts = [name for name in files if name.lower().endswith(".txt") and not _NO_LABELS.match(name.rpartition("/")[2])]
    found = by_key(texts)
    return {picture: found.get(key(picture)) for picture in pictures}


def layout_of(place: Place, options: Options) -> Layout:
    yaml = place.path if not place.is_folder else yaml_of(place)
    if yaml is not None and not place.is_folder and place.suffix not in YAML:
        raise DataError(Problem(place.path, "not YOLO's data.yaml", HELP))
    said = _read_yaml(yaml) if yaml else {}
    home = Place(parent(yaml)) if yaml else place
    notes = Notes()
    names = _names(yaml or place.path, said.get("names")) or _names_beside(home)
    if not names:
        notes.add("warning", "no-class-names", home.path, "nothing names the classes; they are called by their numbers",
                  "write a data.yaml with 'names:'")  # fmt: skip
    keypoints = _keypoints(said.get("kpt_shape"))
    if keypoints:
        notes.add("info", "not-kept", home.path, "keypoints are not kept")
    listed = {} if options.images else _listed(home, said, yaml or "")
    if listed:
        labels = _labels_of([path for paths in listed.values() for path in paths], home.path)
        layout = Layout(home.path, yaml or place.path, names, listed, labels, keypoints, notes)
    else:
        layout = _by_folders(home, options, yaml or place.path, names, keypoints, notes)
    if not any(layout.pictures.values()):
        raise DataError(Problem(place.path, "no pictures with YOLO's text files", HELP))
    _tell_bare(layout)
    return layout


def _by_folders(
    home: Place, options: Options, source: str, names: dict[int, str], keypoints: int, notes: Notes
) -> Layout:
    root, pictures = pictures_of(home, options.images)
    labels = pairs(pictures, home.files)
    texts = {
        name for name in home.files if name.lower().endswith(".txt") and not _NO_LABELS.match(name.rpartition("/")[2])
    }
    left = sorted(texts - set(labels.values()))
    for name in left:
        notes.add("warning", "no-picture", home.open(name), "there is no picture of this name; its labels are left out")
    if not texts:
        raise DataError(Problem(home.path, "no .txt label files in it", HELP))
    parts: dict[str, list[str]] = {}
    for picture, split in zip(pictures, splits_of(pictures)):
        parts.setdefault(split, []).append(picture)
    return Layout(
        root, source, names, parts, {p: home.open(n) if n else None for p, n in labels.items()}, keypoints, notes
    )


def _tell_bare(layout: Layout) -> None:
    bare = [picture for picture, label in layout.labels.items() if label is None]
    if bare:
        what = f"{len(bare)} pictures have no .txt; they count as background, as with Ultralytics"
        layout.notes.add("info", "no-label-file", ", ".join(bare[:3]), what, "take them out if nobody looked at them")


def _read_yaml(path: str) -> dict[str, Any]:
    content = storage.read_bytes(path, limit=1 << 20)
    try:
        found = parse(content.decode("utf-8-sig"), path).values
    except UnicodeDecodeError as error:
        raise DataError(Problem(path, "the text is not UTF-8")) from error
    return dict(found)


def _names(where: str, said: Any) -> dict[int, str]:
    """Class number → name, from a list or a mapping. Raises DataError for anything else."""
    if said is None:
        return {}
    pairs = list(enumerate(said)) if isinstance(said, list) else list(said.items()) if isinstance(said, dict) else None
    fine = pairs is not None and all(
        re.fullmatch(r"[0-9]{1,9}", str(number)) and isinstance(name, str | int | float) for number, name in pairs
    )
    if pairs is None or not fine:
        raise DataError(Problem(where, "'names' is no list of class names and no mapping of numbers to names"))
    return {int(number): str(name).strip() or str(number) for number, name in pairs}


def _names_beside(home: Place) -> dict[int, str]:
    """Those of a classes.txt, one a line."""
    for name in sorted(home.files, key=lambda name: name.count("/")):
        if name.rpartition("/")[2].lower() in _NAME_FILES:
            text = storage.read_bytes(home.open(name), limit=1 << 20).decode("utf-8-sig", "replace")
            return dict(enumerate(line.strip() or str(n) for n, line in enumerate(text.splitlines())))
    return {}


def _keypoints(shape: Any) -> int:
    fine = (
        isinstance(shape, list) and len(shape) == 2 and all(isinstance(side, int) and 0 < side < 1000 for side in shape)
    )
    return shape[0] * shape[1] if fine else 0


def _listed(home: Place, said: Mapping[str, Any], yaml: str) -> dict[str, list[str]]:
    """Split → pictures, from the folders and lists that data.yaml names. Raises DataError for one that isn't there."""
    found: dict[str, list[str]] = {}
    bases = _bases(home.path, said.get("path"))
    for word, entries in said.items():
        split = SPLIT_NAMES.get(word.lower())
        if split is None or entries in (None, "", []):
            continue
        for entry in entries if isinstance(entries, list) else [entries]:
            found.setdefault(split, []).extend(_entry(bases, str(entry), home.path, f"{yaml}: {word}"))
    return found


def _bases(home: str, path: Any) -> list[str]:
    """What entries are relative to: `path`, if it is there, and the folder of data.yaml."""
    there = storage.join(home, posixpath.normpath(path)) if isinstance(path, str) and path not in ("", ".") else None
    return [there, home] if there is not None and storage.is_dir(there) else [home]


def _entry(bases: Sequence[str], entry: str, home: str, where: str) -> list[str]:
    """The pictures of a folder, a list of pictures, or one picture.

    Roboflow writes `../train/images` for a folder that lies beside data.yaml.
    """
    clean = posixpath.normpath(entry.replace("\\", "/"))
    for base in bases:
        for name in dict.fromkeys((clean, clean.lstrip("./") if clean.startswith("../") else clean)):
            path = storage.join(base, name)
            if storage.is_dir(path):
                return [f for f in (storage.relative(file, home) for file in storage.list_files(path)) if is_picture(f)]
            if storage.exists(path):
                return (
                    _in_list(path, home)
                    if path.split("::")[0].lower().endswith(".txt")
                    else [storage.relative(path, home)]
                )
    raise DataError(Problem(where, f"there is no '{entry}'", f"a folder or a list of pictures, seen from {bases[0]}"))


def _in_list(path: str, home: str) -> list[str]:
    text = storage.read_bytes(path, limit=256 << 20).decode("utf-8-sig", "replace")
    lines = (line.strip() for line in text.splitlines())
    found = (storage.join(parent(path), line.removeprefix("./")) for line in lines if line)
    return [storage.relative(file, home) for file in found]


def _labels_of(pictures: Sequence[str], home: str) -> dict[str, str | None]:
    """Ultralytics' rule: the last `/images/` becomes `/labels/`, and the ending .txt."""
    wanted = {picture: _label_path(storage.join(home, picture)) for picture in pictures}
    folders = {parent(path) for path in wanted.values()}
    there = {
        file
        for folder in sorted(folders)
        if storage.is_dir(folder)
        for file in storage.list_files(folder, recursive=False)
    }
    return {picture: path if path in there else None for picture, path in wanted.items()}


def _label_path(picture: str) -> str:
    inner, mark, outer = picture.partition("::")
    swapped = re.sub(r"^(.*[\\/])images(?=[\\/])", r"\g<1>labels", inner, count=1)
    return re.sub(r"\.[^./\\]*$", "", swapped) + ".txt" + mark + outer
