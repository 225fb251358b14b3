"""What one may call pictures (files, folders, globs, addresses, arrays, videos) as a list of sources to read."""

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
from espalier.runtime import video
from espalier.runtime.video import Frames, VideoSource
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

    def queries(self, *, channels: Channels = "rgb", max_pixels: int = MAX_PIXELS) -> Iterator[ImageQuery]:
        """The one query, as a video has many. Raises ImageError."""
        yield self.read(channels=channels, max_pixels=max_pixels)

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

    Videos are no pictures here. Raises InputError that names everything that led to no picture.
    """
    found = _expanded(given, None, recursive=recursive, allow_urls=allow_urls)
    return [source for source in found if isinstance(source, PictureSource)]


def expand_all(
    given: Iterable[Any], *, frames: Frames, recursive: bool = True, allow_urls: bool = False
) -> list[PictureSource | VideoSource]:
    """As `expand`, with videos, cameras and streams, of which `frames` says what is read.

    Raises InputError also where there is more than one live stream, since the first one may never end.
    """
    found = _expanded(given, frames, recursive=recursive, allow_urls=allow_urls)
    live = [source.name for source in found if isinstance(source, VideoSource) and source.live]
    if len(live) > 1:
        fix = "run predict once for each, or set predict.live=false where they end"
        raise InputError(Problem(", ".join(live), "several live streams can't be read one after the other", fix=fix))
    return found


def _expanded(
    given: Iterable[Any], frames: Frames | None, *, recursive: bool, allow_urls: bool
) -> list[PictureSource | VideoSource]:
    found: list[PictureSource | VideoSource] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for number, item in enumerate(given):
        try:
            sources = list(_sources(item, number, frames, recursive=recursive, allow_urls=allow_urls))
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


def _sources(
    item: Any, number: int, frames: Frames | None, *, recursive: bool, allow_urls: bool
) -> Iterator[PictureSource | VideoSource]:
    if not isinstance(item, (str, os.PathLike)):
        yield PictureSource(_name(item, number), _content(item))
        return
    path = os.fspath(item)
    if path.startswith((*_WEB, *video.STREAMS)):
        _refuse_web(path, allow_urls)
        yield _source(path, frames)
    elif path == video.PIPE and frames is not None:
        yield VideoSource.of(path, frames)
    elif storage.is_dir(path):
        files = storage.list_files(path, recursive=recursive)
        yield from _listed(path, _pictures(files, frames), "no picture lies in this folder", frames)
    elif storage.exists(path):
        yield _source(path, frames)
    elif _WILD & set(path):
        yield from _listed(path, _matches(path, recursive), "no picture matches", frames)
    else:
        raise InputError(Problem(path, "there is no such file or folder", fix="check the path"))


def _source(path: str, frames: Frames | None) -> PictureSource | VideoSource:
    if frames is not None and video.is_video(path):
        return VideoSource.of(path, frames)
    return PictureSource(storage.without_password(path), path)


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
        name = storage.without_password(path)
        raise InputError(Problem(name, "web addresses are only read when asked to", fix=fix))


def _listed(
    given: str, paths: list[str], otherwise: str, frames: Frames | None
) -> Iterator[PictureSource | VideoSource]:
    if not paths:
        endings = SUFFIXES if frames is None else SUFFIXES | video.SUFFIXES
        raise InputError(Problem(given, otherwise, f"files ending in {', '.join(sorted(endings))}"))
    return (_source(path, frames) for path in paths)


def _pictures(paths: Iterable[str], frames: Frames | None) -> list[str]:
    endings = SUFFIXES if frames is None else SUFFIXES | video.SUFFIXES
    return [path for path in paths if video.suffix(path) in endings]


def _matches(pattern: str, recursive: bool) -> list[str]:
    """Local globs by `glob`; at an address, `*` also matches slashes. Files of any ending: the glob said which."""
    if "://" not in pattern:
        return sorted(path for path in glob.glob(pattern, recursive=recursive) if Path(path).is_file())  # noqa: PTH207
    fixed = pattern[: min(pattern.index(c) for c in _WILD if c in pattern)].rpartition("/")[0]
    return [path for path in storage.list_files(fixed) if fnmatchcase(path, pattern)]
