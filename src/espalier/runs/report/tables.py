"""Tables whose columns can be sorted where scripts run, and read everywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator

from espalier.blocks import Bars, Figure, Table
from espalier.runs.report.figures import column_decimals, digits, interval, minus, value
from espalier.runs.report.markup import Html, join, percent, tag

LONG = 16  # rows from which a table scrolls inside itself
MOST = 2000
Content = str | float | int | Figure | None


def table(block: Table) -> Html:
    """The table; numbers to the right, a figure with its interval under it."""
    rows = block.rows[:MOST]
    columns = list(zip(*rows, strict=True)) if rows else [() for _ in block.columns]
    decimals = [_decimals(column) for column in columns]
    numeric = [_is_numeric(column) for column in columns]
    head = [
        tag("th", {"scope": "col", "class": "n" if is_number else None}, name)
        for name, is_number in zip(block.columns, numeric, strict=True)
    ]
    body = [
        tag("tr", {}, *(_cell(*cell) for cell in zip(row, decimals, numeric, block.columns, strict=True)))
        for row in rows
    ]
    css = "scroll tall" if len(rows) > LONG else "scroll"
    made = tag(
        "table",
        {"class": " ".join(_css(block, numeric))},
        tag("thead", {}, tag("tr", {}, *head)) if any(block.columns) else Html(""),
        tag("tbody", {}, *body),
    )
    more = len(block.rows) - len(rows)
    rest = tag("p", {"class": "fine"}, f"{more:,} more rows are in events.jsonl.") if more else Html("")
    return join([tag("div", {"class": css, "tabindex": 0, "role": "region", "aria-label": block.title}, made), rest])


def _css(block: Table, numeric: list[bool]) -> Iterator[str]:
    yield "plain" if any(block.columns) else "plain pairs"
    if len(block.rows) > 2 and any(block.columns):
        yield "sortable"
    if len(block.columns) > 2 and numeric.count(False) > 2:
        yield "stack"  # mostly words: on a narrow page each row becomes a list


def _decimals(column: tuple[Content, ...]) -> int | None:
    if any(isinstance(c, str) for c in column):
        return None
    return column_decimals([c for c in column if isinstance(c, float)])


def _is_numeric(column: tuple[Content, ...]) -> bool:
    filled = [c for c in column if c is not None]
    return bool(filled) and all(not isinstance(c, str) for c in filled)


def _cell(content: Content, decimals: int | None, numeric: bool, column: str) -> Html:
    told = {"class": "n" if numeric else None, "data-label": column or None}
    if content is None:
        return tag("td", told, "–" if numeric else "")
    if isinstance(content, Figure):
        between = interval(content)
        small = tag("small", {}, between) if between else Html("")
        return tag("td", told | {"data-v": _sort_key(content.value)}, value(content.value, content.unit), small)
    if isinstance(content, str):
        return tag("td", told, content)
    return tag("td", told | {"data-v": _sort_key(content)}, _number(content, decimals))


def _number(content: float | int, decimals: int | None) -> str:
    if isinstance(content, bool) or not math.isfinite(content):
        return str(content).lower() if isinstance(content, bool) else "–"
    if decimals is None:
        return minus(digits(content))
    return minus(f"{content:,}" if isinstance(content, int) else f"{content:,.{decimals}f}")


def _sort_key(number: float) -> str | None:
    return repr(float(number)) if math.isfinite(number) else None


def bars(block: Bars) -> Html:
    """A bar a name, from zero, with its interval where there is one."""
    lows, highs = block.low or block.values, block.high or block.values
    ends = [v for v in (*block.values, *lows, *highs, 0.0) if math.isfinite(v)]
    start, end = min(ends), max(ends)
    span = end - start or 1.0
    items = [
        tag(
            "li",
            {},
            tag("span", {"class": "name", "title": name}, name),
            _bar(v, low, high, start, span),
            tag("span", {"class": "n"}, value(v, block.unit)),
        )
        for name, v, low, high in zip(block.names, block.values, lows, highs, strict=True)
    ]
    css = "bars tall" if len(items) > LONG else "bars"
    return tag("ul", {"class": css, "tabindex": 0 if len(items) > LONG else None}, *items)


def _bar(v: float, low: float, high: float, start: float, span: float) -> Html:
    def at(number: float) -> float:
        return (number - start) / span

    if not math.isfinite(v):
        return tag("svg", {"aria-hidden": "true"})
    left, right = sorted((at(0.0), at(v)))
    shapes = [tag("rect", {"x": percent(left), "width": percent(right - left), "y": 0, "height": "100%"})]
    if math.isfinite(low) and math.isfinite(high) and high > low:
        shapes.append(tag("line", {"x1": percent(at(low)), "x2": percent(at(high)), "y1": "50%", "y2": "50%"}))
    return tag("svg", {"aria-hidden": "true"}, *shapes)
