"""What a data format is, and the words that all of them share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from espalier import storage
from espalier.data.index import Index
from espalier.errors import DataError, Problem
from espalier.vision.image import SUFFIXES

SPLIT_NAMES: Mapping[str, str] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""How people name the parts of a data set, and our word for each."""
UNSPLIT = "train"
"""The split that everything is in when the data set has none."""


@dataclass(frozen=True)
class Options:
    """How a data set is to be read: the spec's `data` fields that readers need."""

    images: str | None = None
    classes: tuple[str, ...] | None = None
    group: str | None = None


@dataclass(frozen=True)
class Loss:
    """What a format can't hold and therefore was left out."""

    what: str
    count: int

    def __str__(self) -> str:
        return f"{self.count} {self.what}"


@dataclass(frozen=True)
class Place:
    """A file or folder that may hold a data set; listed once for all the formats that look at it."""

    path: str

    @cached_property
    def is_folder(self) -> bool:
        """Is it a folder (or a zip, or an address with files below)?"""
        return storage.is_dir(self.path)

    @cached_property
    def files(self) -> tuple[str, ...]:
        """The files below, as names relative to the folder with forward slashes, sorted."""
        if not self.is_folder:
            return ()
        return tuple(storage.relative(file, self.path) for file in storage.list_files(self.path))

    @cached_property
    def pictures(self) -> tuple[str, ...]:
        """Those of `files` that are pictures by their name."""
        return tuple(name for name in self.files if is_picture(name))

    @property
    def suffix(self) -> str:
        """The file's ending in lower case, with its dot."""
        return PurePosixPath(self.path.split("::")[0]).suffix.lower()

    def open(self, name: str) -> str:
        """The path of a file below."""
        return storage.join(self.path, name)

    @property
    def folder(self) -> str:
        """The folder that a label file lies in."""
        return parent(self.path)


class Format(Protocol):
    """One way in which labels lie on disk. A format is a file in this folder with a `FORMAT` of this shape."""

    name: str
    help: str
    holds: frozenset[str]  # kinds of annotation that it can keep
    refers: bool  # may pictures stay where they are?
    tells_classes: bool  # does its label file say for which classes a picture was labelled?
    by_stem: bool  # do label files find their pictures by the bare name, so that `a.jpg` and `a.png` would be one?

    def detect(self, place: Place) -> int:
        """How much it looks like this format, 0 (not at all) to 100."""

    def read(self, place: Place, options: Options) -> dict[str, Index]:
        """The index of each split; all have the same classes. What can't be used is in `Index.findings`.

        Raises DataError when nothing can be read at all.
        """

    def place_pictures(self, index: Index, split: str) -> list[str]:
        """Where each picture should lie in a new data set: relative paths, not yet unique. `split` may be ''."""

    def write(self, splits: Mapping[str, Index], names: Mapping[str, Sequence[str]], folder: Path) -> tuple[Loss, ...]:
        """Writes the label files of pictures that lie at `names`, and says what the format could not hold."""


@runtime_checkable
class Predicting(Protocol):
    """A format that can also keep what a model said, and how sure it was."""

    def write_predictions(
        self, index: Index, score_M: NDArray[Any], names: Sequence[str], folder: Path, *, model: str
    ) -> tuple[Loss, ...]:
        """Writes what a model of that name said, as `write` writes labels, with the score of each annotation."""


def is_picture(name: str) -> bool:
    """Is it a picture, by its ending?"""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def parent(path: str) -> str:
    """The folder that a file lies in; of a member of a zip, the folder inside the zip."""
    if path.startswith("zip://"):
        inner, _, outer = path[6:].rpartition("::")
        head = inner.rpartition("/")[0]
        return f"zip://{head}::{outer}" if head else outer
    if "://" in path:
        return path.rpartition("/")[0]
    return str(Path(path).parent)


def picture_root(candidates: Sequence[str], paths: Sequence[str]) -> str:
    """The first of the folders in which one of the first pictures lies; the first folder when none does."""
    relative = [path for path in paths[:3] if "://" not in path and not Path(path).is_absolute()]
    found = (folder for folder in candidates if any(storage.exists(storage.join(folder, path)) for path in relative))
    return next(found, candidates[0])


def split_in_name(name: str) -> str | None:
    """The split that a file's name speaks of ('instances_train2017.json' → train), or None."""
    words = re.split(r"[^a-z]+", PurePosixPath(name).stem.lower())
    found = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
    return found.pop() if len(found) == 1 else None


def safe_name(path: str) -> str:
    """The path as a relative one that can't leave its folder: no drive, no root, no '..'."""
    path = path.encode("utf-8", "replace").decode()  # a name that is no text on this system
    tail = path.split("://", 1)[-1].split("::")[0].replace("\\", "/")
    parts = [part for part in tail.split("/") if part not in ("", ".", "..") and not part.endswith(":")]
    if "://" in path or path.startswith(("/", "\\")) or path[1:2] == ":":
        parts = parts[-2:]
    return "/".join(re.sub(r'[<>:"|?*\x00-\x1f]', "_", part) for part in parts) or "picture"


def with_groups(index: Index, group: str | None) -> Index:
    """The index with `group` taken from its paths by a regular expression, unless a column gave it already.

    A path that doesn't match is a group of its own. Raises DataError when the expression is wrong or never matches.
    """
    if group is None or index.group is not None or not len(index):
        return index
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise DataError(
            Problem("data.group", f"'{group}' is neither a column nor a regular expression: {error}")
        ) from error
    if not pattern.groups:
        raise DataError(
            Problem(
                "data.group",
                f"there is no column '{group}', and as a regular expression it has no group",
                expected="a column of the CSV, or an expression over the path such as '^([^_]+)_'",
            )
        )
    found = [pattern.search(str(path)) for path in index.paths]
    if not any(found):
        raise DataError(
            Problem("data.group", f"'{group}' matches none of {len(index)} paths", f"e.g. '{index.paths[0]}'")
        )
    keys = np.empty(len(index), np.object_)
    keys[:] = [match.group(1) or "" if match else str(path) for match, path in zip(found, index.paths)]
    return replace(index, group=keys)
