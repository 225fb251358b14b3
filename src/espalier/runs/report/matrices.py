"""Confusion matrices: a table while it can be read as one, a heat map and the commonest confusions beyond."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from espalier.blocks import Matrix
from espalier.runs.report.figures import value
from espalier.runs.report.markup import Attributes, Html, join, percent, short, tag

TABLE_CLASSES = 12
MAP_CLASSES = 200
CONFUSIONS = 20
_WIDE_PX, _NARROW_PX, _LABEL_PX = 600, 240, 12


@dataclass(frozen=True)
class Cell:
    """One entry: `share` is of its row; `level` 0 to 10 is how strongly it is coloured."""

    row: int
    column: int
    count: float
    share: float
    right: bool

    @property
    def level(self) -> int:
        """Small shares are lifted, so that a rare confusion can be seen."""
        return 0 if self.share <= 0 else max(1, round(10 * self.share**0.6))

    @property
    def css(self) -> str:
        """Colour by kind and level."""
        return f"{'ok' if self.right else 'no'}{self.level}"


def matrix(block: Matrix) -> Html:
    """The figure for any number of classes."""
    square = list(block.rows) == list(block.columns)
    cells = _cells(block, square)
    if max(len(block.rows), len(block.columns)) <= TABLE_CLASSES:
        made = tag("div", {}, _table(block, cells, square), _key(square))
        return _beside(made, _commonest(block, cells, 8)) if square and len(block.rows) > 4 else made
    commonest = _commonest(block, cells, CONFUSIONS) if square else Html("")
    if max(len(block.rows), len(block.columns)) > MAP_CLASSES:
        many = f"A map of {len(block.rows)} classes could not be read; these are the commonest confusions."
        return join([tag("p", {"class": "fine"}, many), commonest])
    return _beside(tag("div", {}, _map(block, cells), _key(square)), commonest)


def _beside(left: Html, right: Html) -> Html:
    return tag("div", {"class": "split"}, left, right)


def _cells(block: Matrix, square: bool) -> list[list[Cell]]:
    rows = []
    for r, counts in enumerate(block.counts):
        total = math.fsum(c for c in counts if math.isfinite(c) and c > 0)
        finite = [c if math.isfinite(c) and c > 0 else 0.0 for c in counts]
        rows.append([Cell(r, c, n, n / total if total else 0.0, square and r == c) for c, n in enumerate(finite)])
    return rows


def _table(block: Matrix, cells: list[list[Cell]], square: bool) -> Html:
    corner = tag("td", {"class": "corner"}, "truth ↓  predicted →" if square else "")
    names = [tag("th", {"scope": "col", "title": name}, tag("span", {}, _clipped(name, 16))) for name in block.columns]
    body = [
        tag(
            "tr",
            {},
            tag("th", {"scope": "row", "title": name}, _clipped(name, 18)),
            *(_table_cell(cell, block) for cell in row),
        )
        for name, row in zip(block.rows, cells, strict=True)
    ]
    css = "matrix upright" if len(block.columns) > 4 else "matrix"
    table = tag(
        "table", {"class": css}, tag("thead", {}, tag("tr", {}, corner, *names)), tag("tbody", {}, *body)
    )  # fmt: skip
    return tag("div", {"class": "scroll", "tabindex": 0, "role": "region", "aria-label": block.title}, table)


def _table_cell(cell: Cell, block: Matrix) -> Html:
    share = tag("small", {}, value(cell.share, "%")) if cell.count else Html("")
    return tag("td", {"class": cell.css, "title": _words(cell, block)}, tag("b", {}, value(cell.count)), share)


def _map(block: Matrix, cells: list[list[Cell]]) -> Html:
    rows, columns = len(block.rows), len(block.columns)
    drawn = [
        tag(
            "rect",
            {"class": cell.css, "x": cell.column, "y": cell.row, "width": 1, "height": 1},
            tag("title", {}, _words(cell, block)),
        )
        for row in cells
        for cell in row
        if cell.count
    ]
    inner = tag(
        "svg",
        {"viewBox": f"0 0 {columns} {rows}", "preserveAspectRatio": "none", "width": "100%", "height": "100%"},
        *drawn,
    )
    label = f"{block.title}: heat map, {rows} classes. The commonest confusions are listed beside it."
    picture = tag(
        "svg",
        {"class": "heat", "role": "img", "aria-label": label},
        inner,
        *_labels(block.rows, across=False),
        *_labels(block.columns, across=True),
    )
    axis = tag("div", {"class": "ylabel", "aria-hidden": "true"}, "truth ↓  predicted →")
    return join([axis, tag("div", {"class": "heatbox"}, picture)])


def _labels(names: Sequence[str], *, across: bool) -> list[Html]:
    """As many names as fit; on a narrow page fewer (`wide` ones are hidden there)."""
    wide, narrow = (max(1, math.ceil(_LABEL_PX * len(names) / px)) for px in (_WIDE_PX, _NARROW_PX))
    narrow = math.ceil(narrow / wide) * wide
    parts = []
    for index in range(0, len(names), wide):
        at = percent((index + 0.5) / len(names))
        css = "tick" if index % narrow == 0 else "tick wide"
        text = _clipped(names[index], 11)
        if across:
            holder = {"x": at, "y": "100%", "class": "turned"}
            turned = tag(
                "text", {"class": css, "transform": "rotate(-90)", "x": -6, "dy": "0.32em", "text-anchor": "end"}, text
            )
            parts.append(tag("svg", holder, turned))
        else:
            parts.append(tag("text", {"class": css, "x": -6, "y": at, "dy": "0.32em", "text-anchor": "end"}, text))
    return parts


def _commonest(block: Matrix, cells: list[list[Cell]], most: int) -> Html:
    """The largest entries off the diagonal."""
    wrong = sorted((c for row in cells for c in row if c.count and not c.right), key=lambda c: -c.count)[:most]
    if not wrong:
        return tag("p", {"class": "fine"}, f"None of the {block.unit} were confused with another class.")
    head = [tag("th", {"scope": "col"}, name) for name in ("truth", "taken for")]
    head.append(tag("th", {"scope": "col", "class": "n"}, block.unit))
    body = [
        tag(
            "tr",
            {},
            tag("td", {}, block.rows[cell.row]),
            tag("td", {}, block.columns[cell.column]),
            tag("td", {"class": "n"}, value(cell.count), tag("small", {}, f"{value(cell.share, '%')} of the class")),
        )
        for cell in wrong
    ]
    table = tag(
        "table",
        {"class": "plain"},
        tag("caption", {}, "Commonest confusions"),
        tag("thead", {}, tag("tr", {}, *head)),
        tag("tbody", {}, *body),
    )
    box: Attributes = {"class": "scroll tall", "tabindex": 0, "role": "region", "aria-label": "Commonest confusions"}
    return tag("div", box, table)


def _key(square: bool) -> Html:
    """What the colours mean."""
    if not square:
        return Html("")
    kinds = (("ok", "right"), ("no", "confused"))
    items = [
        tag("li", {}, *(tag("i", {"class": f"{css}{level}"}) for level in (2, 5, 8, 10)), text) for css, text in kinds
    ]
    return tag("ul", {"class": "legend"}, *items, tag("li", {}, "stronger: a larger share of the true class"))


def _words(cell: Cell, block: Matrix) -> str:
    truth, predicted = block.rows[cell.row], block.columns[cell.column]
    return f"{truth} → {predicted}: {value(cell.count)} ({short(100 * cell.share)} %)"


def _clipped(name: str, length: int) -> str:
    """The name with its middle left out: what tells names apart is often at the end."""
    head = (length - 1) // 2
    return name if len(name) <= length else f"{name[:head]}…{name[len(name) - (length - 1 - head) :]}"
