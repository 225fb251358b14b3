"""Each kind of block as HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from espalier.blocks import Bars, Block, Curve, Figure, Gallery, Headline, Matrix, Table, Text
from espalier.runs.report import charts, figures, matrices, pictures, tables
from espalier.runs.report.markup import Html, join, percent, tag


def blocks(found: Iterable[Block], root: Path) -> Html:
    """The blocks as cards; charts and bars share a line where the page is wide enough."""
    listed = list(found)
    return tag("div", {"class": "cards"}, *(card(b, w, root) for b, w in zip(listed, widths(listed), strict=True)))


def widths(found: Sequence[Block]) -> list[str]:
    """half for two blocks in a row that can share a line, full for all others: no line has a hole."""
    told: list[str] = []
    while len(told) < len(found):
        pair = found[len(told) : len(told) + 2]
        told += ["half", "half"] if len(pair) == 2 and all(map(_can_share, pair)) else ["full"]
    return told


def card(block: Block, width: str, root: Path) -> Html:
    """A block with its heading and note."""
    if isinstance(block, Headline):
        return headline(block)
    note = getattr(block, "note", "")
    return tag(
        "article",
        {"class": f"card {width}"},
        _heading(block.title),
        tag("p", {"class": "note"}, note) if note else Html(""),
        _content(block, root),
    )


def _can_share(block: Block) -> bool:
    if isinstance(block, Matrix):
        return len(block.columns) <= 4
    if isinstance(block, Table):
        numbers = sum(not isinstance(cell, str) for cell in block.rows[0]) if block.rows else 0
        return len(block.columns) <= 3 or (len(block.columns) <= 5 and numbers >= len(block.columns) - 1)
    if isinstance(block, Text):
        return block.code or len(block.text) < 600
    return isinstance(block, (Curve, Bars))


def _content(block: Block, root: Path) -> Html:
    if isinstance(block, Curve):
        return charts.curve(block)
    if isinstance(block, Bars):
        return tables.bars(block)
    if isinstance(block, Table):
        return tables.table(block)
    if isinstance(block, Matrix):
        return matrices.matrix(block)
    if isinstance(block, Gallery):
        return pictures.gallery(block, root)
    assert isinstance(block, Text)
    return text(block)


def text(block: Text) -> Html:
    """Paragraphs, or lines to copy."""
    if block.code:
        return tag("div", {"class": "code"}, tag("pre", {"tabindex": 0}, tag("code", {}, block.text)))
    return join(tag("p", {}, part) for part in block.text.split("\n\n") if part.strip())


def headline(block: Headline) -> Html:
    """The first figure large, the others beside it."""
    first, others = block.figures[:1], block.figures[1:]
    more = tag("div", {"class": "others"}, *(_figure(f, large=False) for f in others)) if others else Html("")
    return tag(
        "article",
        {"class": "card full hero"},
        _heading(block.title),
        tag("div", {"class": "figures"}, *(_figure(f, large=True) for f in first), more),
        tag("p", {"class": "note"}, block.note) if block.note else Html(""),
    )


def _heading(title: str) -> Html:
    return tag("h3", {"class": _first_letter(title) or None}, title) if title else Html("")


def _first_letter(words: str) -> str:
    """The class of words whose small first letter stays small, such as mIoU."""
    return "as-written" if words[:1].islower() and words[1:2].isupper() else ""


def _figure(figure: Figure, *, large: bool) -> Html:
    told = figures.interval(figure)
    return tag(
        "div",
        {"class": "figure large" if large else "figure"},
        tag("div", {"class": f"name {_first_letter(figure.name)}".rstrip()}, figure.name.replace("_", " ")),
        tag("div", {"class": "value"}, figures.value(figure.value, figure.unit)),
        _range(figure) if told and figure.unit in ("%", "points") else Html(""),
        tag("div", {"class": "interval"}, tag("span", {"class": None if large else "unseen"}, _PROMISE), told)
        if told
        else tag("div", {"class": "interval"}, "no interval"),
        tag("div", {"class": "why"}, figure.note) if figure.note else Html(""),
    )


_PROMISE = "95 % interval "  # seen at the large figure, said at each


def _range(figure: Figure) -> Html:
    """The interval on a line from 0 to 100 % (for a difference, from -100 %)."""
    ends = (figure.low, figure.value, figure.high)
    if any(v is None or not math.isfinite(v) or not -1 <= v <= 1 for v in ends):
        return Html("")
    low, middle, high = (float(v) for v in ends if v is not None)
    start = -1.0 if low < 0 or figure.unit == "points" else 0.0

    def at(v: float) -> str:
        return percent((v - start) / (1 - start))

    return tag(
        "svg",
        {"class": "range", "aria-hidden": "true"},
        tag("line", {"class": "all", "x1": 0, "x2": "100%", "y1": "50%", "y2": "50%"}),
        tag("line", {"class": "part", "x1": at(low), "x2": at(high), "y1": "50%", "y2": "50%"}),
        tag("circle", {"cx": at(middle), "cy": "50%", "r": 5}),
    )
