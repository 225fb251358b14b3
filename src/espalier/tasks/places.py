"""Words that ask for a place of a picture (`crown@640:480`, `640,480`, a box's four edges), in a part of it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from espalier.errors import Problem, UsageError
from espalier.vision.tiling import Window

_NUMBER = r"-?\d+(?:\.\d+)?"
_PIXEL = re.compile(r"(.*@|)\s*(\d+)\s*[,:]\s*(\d+)\s*")
_EDGES = re.compile(rf"(.*@)({_NUMBER}):({_NUMBER}):({_NUMBER}):({_NUMBER})")


def inside(words: Sequence[str], window: Window) -> list[str]:
    """The words with their places counted from the window's corner; those without a place stay as they are.

    Raises UsageError for a pixel that is not in the window.
    """
    return [_moved(word, window) for word in words]


def _moved(word: str, window: Window) -> str:
    edges = _EDGES.fullmatch(word)
    if edges is not None:
        corner = (window.left, window.top) * 2
        return edges[1] + ":".join(f"{float(edge) - at:g}" for edge, at in zip(edges.groups()[1:], corner, strict=True))
    pixel = _PIXEL.fullmatch(word)
    if pixel is None:
        return word
    x, y = int(pixel[2]) - window.left, int(pixel[3]) - window.top
    if not (0 <= x < window.width and 0 <= y < window.height):
        raise UsageError(Problem("explain.targets", f"pixel {pixel[2]},{pixel[3]} is in no tile of the picture"))
    return f"{pixel[1] or '@'}{x}:{y}"
