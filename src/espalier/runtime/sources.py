"""What one may call pictures (files, folders, globs, addresses, arrays) as a list of single pictures to read."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from espalier import storage
from espalier.errors import ImageError, InputError, Problem
from espalier.tasks.base import ImageQuery
from espalier.vision.channels import Channels
from espalier.vision.image import MAX_PIXELS, SUFFIXES, Source, read_image

_WILD = frozenset("*?[")
_WEB = ("http://", "https://")


@dataclass(frozen=True)
class PictureSource:
    """One picture that was not read yet. `content` is what `read_image` takes, or a web address."""

    name: str
    content: Source

    def read(self, *, channels: Channels = "rgb", max_pixels: int = MAX_PIXELS) -> ImageQuery:
        """The picture as a query. Raises ImageError; fetches web addresses."""
        content = self.content
        if isinstance(content, str) and content.startswith(_WEB):
            try:
                content = storage.read_url(content)
            except InputError as error:
                raise ImageError(*error.problems) from None
        return ImageQuery(read_image(content, channels=channels, max_pixels=max_pixels, name=self.name), self.name)


def expand(given: Iterable[Any], *, recursive: bool = True, allow_urls: bool = False) -> list[PictureSource]:
    """One source a picture, in the order given; a folder's and a glob's in the order of their names, each file once.

    Raises InputError that names everything that led to no picture.
    """
    found: list[PictureSource] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for number, item in enumerate(given):
        try:
            sources = list(_sources(item, number, recursive=recursive, allow_urls=allow_urls))
        except InputError as error:
            problems.extend(error.problems)
            continue
        fresh = [s for s in sources if not isinstance(s.content, str) or s.content not in seen]
        seen.update(s.content for s in fresh if isinstance(s.content, str))
        found.extend(fresh)
    if problems:
        raise InputError(*problems)
    if not found:
        raise InputError(Problem("images", "no pictures were given", fix="name files, folders or globs"))
    return found


def _sources(item: Any, number: int, *, recursive: bool, allow_urls: bool) -> Iterator[PictureSource]:
    if not isinstance(item, (str, os.PathLike)):
        yield PictureSource(_name(item, number), _content(item))
        return
    path = os.fspath(item)
    if path.startswith(_WEB):
        _refuse_web(path, allow_urls)
        yield PictureSource(path, path)
    elif storage.is_dir(path):
        yield from _listed(
            path, _pictures(storage.list_files(path, recursive=recursive)), "no picture lies in this folder"
        )
    elif storage.exists(path):
        yield PictureSource(path, path)
    elif _WILD & set(path):
        yield from _listed(path, _matches(path, recursive), "no picture matches")
    else:
        raise InputError(Problem(path, "there is no such file or folder", fix="check the path"))


def _name(item: Any, number: int) -> str:
    return str(getattr(item, "filename", "") or f"image-{number:05d}")


def _content(item: Any) -> Source:
    if isinstance(item, (bytearray, memoryview)):
        return bytes(item)
    if hasattr(item, "__array__") and not isinstance(item, np.ndarray) and not hasattr(item, "getexif"):
        return np.asarray(item)
    return item  # type: ignore[no-any-return]  # read_image says what is wrong with another type


def _refuse_web(path: str, allow_urls: bool) -> None:
    if not allow_urls:
        fix = "add --allow-urls (predict.allow_urls=true), or fetch it yourself"
        raise InputError(Problem(path, "web addresses are only read when asked to", fix=fix))


def _listed(given: str, paths: list[str], otherwise: str) -> Iterator[PictureSource]:
    if not paths:
        raise InputError(Problem(given, otherwise, f"files ending in {', '.join(sorted(SUFFIXES))}"))
    return (PictureSource(path, path) for path in paths)


def _pictures(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if _suffix(path) in SUFFIXES]


def _suffix(path: str) -> str:
    return os.path.splitext(path.split("::")[0])[1].lower()  # noqa: PTH122  (addresses are no Path)


def _matches(pattern: str, recursive: bool) -> list[str]:
    """Local globs by `glob`; at an address, `*` also matches slashes. Files of any ending: the glob said which."""
    if "://" not in pattern:
        return sorted(path for path in glob.glob(pattern, recursive=recursive) if Path(path).is_file())  # noqa: PTH207
    fixed = pattern[: min(pattern.index(c) for c in _WILD if c in pattern)].rpartition("/")[0]
    return [path for path in storage.list_files(fixed) if fnmatchcase(path, pattern)]
