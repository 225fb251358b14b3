"""Label files that lie beside pictures: which belongs to which, by their names.

Two files belong together when their paths are the same but for the ending and one folder that says what it holds:
`images/train/a.jpg` and `labels/train/a.txt`, `JPEGImages/a.jpg` and `Annotations/a.xml`, `a.jpg` and `a.txt`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

from espalier import storage
from espalier.data.formats.base import SPLIT_NAMES, UNSPLIT, Place, is_picture, safe_name
from espalier.errors import EspalierError, Problem

ROLES = frozenset(
    {"images", "image", "image_2", "image_3", "jpegimages", "img", "imgs", "pictures",
     "labels", "label", "label_2", "annotations", "annotation", "annots", "xml", "xmls", "txt"}
)  # fmt: skip
"""Folders that say what lies in them (lower case); what is beside them has the same names."""
MAX_BYTES = 16 << 20
"""The labels of one picture are never more."""
_FEW = 16  # starting threads costs more
Key = tuple[str, ...]


def key(name: str) -> Key:
    """What a picture and its label file have in common: their folders but for the last of ROLES, and the bare name."""
    *folders, leaf = name.split("/")
    roles = [place for place, folder in enumerate(folders) if folder.lower() in ROLES]
    if roles:
        del folders[roles[-1]]
    return (*folders, leaf.rpartition(".")[0] or leaf)


def by_key(names: Iterable[str]) -> dict[Key, str]:
    """Key → name; the first one where several share it."""
    found: dict[Key, str] = {}
    for name in names:
        found.setdefault(key(name), name)
    return found


def splits_of(names: Sequence[str]) -> list[str]:
    """The split of each name by its folders; all of it is one when some have none."""
    found = [_split(name) for name in names]
    return [UNSPLIT] * len(names) if None in found else [split or UNSPLIT for split in found]


def _split(name: str) -> str | None:
    folders = (SPLIT_NAMES.get(folder.lower()) for folder in name.split("/")[:-1])
    return next((split for split in folders if split), None)


def bare_name(path: str) -> str:
    """A picture's path without the folders that would mean something in a layout of sidecars: roles and splits."""
    *folders, leaf = safe_name(path).split("/")
    kept = (folder for folder in folders if folder.lower() not in ROLES and folder.lower() not in SPLIT_NAMES)
    return "/".join([*kept, leaf])


def label_name(picture: str, *, pictures: str, labels: str, suffix: str) -> str:
    """Where a writer puts the label file of a picture: in `labels` instead of the first folder named `pictures`."""
    path = PurePosixPath(picture)
    parts = list(path.with_suffix("").parts)
    parts[parts.index(pictures)] = labels
    return "/".join(parts) + suffix


def pictures_of(place: Place, images: str | None) -> tuple[str, tuple[str, ...]]:
    """The folder that pictures lie in (`images`, when the user names one), and their names below it."""
    if images is None:
        return place.path, place.pictures
    return images, tuple(
        name for name in (storage.relative(f, images) for f in storage.list_files(images)) if is_picture(name)
    )


def read_all(paths: Sequence[str]) -> Iterator[bytes | Problem]:
    """The contents of the files in their order, several read at a time; or what is wrong with one."""
    if len(paths) < _FEW:
        yield from map(_read, paths)
        return
    with ThreadPoolExecutor(min(32, 4 * (os.cpu_count() or 1))) as pool:
        for start in range(0, len(paths), 256):  # so many at a time are in memory
            yield from pool.map(_read, paths[start : start + 256])


def _read(path: str) -> bytes | Problem:
    try:
        return storage.read_bytes(path, limit=MAX_BYTES)
    except EspalierError as error:
        return error.problems[0]


def head(path: str, count: int = 1 << 12) -> bytes:
    """The first bytes of a file."""
    with storage.open_read(path) as file:
        return file.read(count)
