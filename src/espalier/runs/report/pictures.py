"""Pictures inside the page: thumbnails as data URIs, read from the run's folder and from nowhere else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from espalier.blocks import Gallery, Picture
from espalier.errors import InputError, StorageError
from espalier.runs import thumbnails
from espalier.runs.report.markup import Html, join, tag
from espalier.vision.image import read_image

LONGEST_PX = 288
MAX_PIXELS = 64_000_000
MOST = 240  # of one gallery; the rest is counted
_MARKS = {"good": "right", "bad": "wrong"}


def gallery(block: Gallery, root: Path) -> Html:
    """The pictures side by side, each with its caption."""
    shown = block.pictures[:MOST]
    more = len(block.pictures) - len(shown)
    note = tag("p", {"class": "fine"}, f"{more} more are in the run's folder.") if more else Html("")
    return join([tag("div", {"class": "gallery large" if block.large else "gallery"}, *_figures(shown, root)), note])


def _figures(shown: Sequence[Picture], root: Path) -> list[Html]:
    return [_figure(picture, root) for picture in shown]


def _figure(picture: Picture, root: Path) -> Html:
    uri = data_uri(root, picture.path)
    image = (
        tag("img", {"src": uri, "alt": picture.caption or "picture", "loading": "lazy", "decoding": "async"})
        if uri
        else tag("div", {"class": "lost"}, "this picture is not in the run's folder")
    )
    word = _MARKS.get(picture.mark)
    first, _, rest = picture.caption.partition("\n")
    badge = tag("span", {"class": f"badge {picture.mark}"}, word) if word else Html("")
    return tag(
        "figure",
        {"class": f"shot {picture.mark if word else ''}".rstrip()},
        image,
        tag("figcaption", {}, badge, first, Html("") if not rest else tag("small", {}, rest)),
    )


def data_uri(root: Path, path: str) -> str | None:
    """The thumbnail, or None for a picture that can't be read or does not lie in `root`."""
    try:
        file = (root / path).resolve()
        if not file.is_relative_to(root.resolve()) or not file.is_file():
            return None
        content = thumbnails.jpeg(read_image(file, max_pixels=MAX_PIXELS), longest_px=LONGEST_PX)
    except (InputError, StorageError, OSError, ValueError):  # ValueError: a path with a NUL in it
        return None
    return "data:image/jpeg;base64," + base64.b64encode(content).decode()
