"""Line charts as inline SVG. Lines stretch with the page while text keeps its size, so one drawing fits every width."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from espalier.blocks import Curve, Series
from espalier.runs.report.axes import Axis, axis
from espalier.runs.report.figures import ticks, value
from espalier.runs.report.markup import Html, join, percent, short, tag

MAX_POINTS = 240  # more are averaged into so many buckets; the band then shows each bucket's range
MAX_DOTS = 40
COLOURS = 6
_SIDE = 1000  # the inner drawing's own units


@dataclass(frozen=True)
class Line:
    """A series as it is drawn: sorted by x, thinned."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None
    high: Sequence[float] | None
    css: str
    thinned: bool


def curve(block: Curve) -> Html:
    """The figure: legend, plot, and its numbers in a table that can be opened."""
    lines = [_line(series, index) for index, series in enumerate(block.series)]
    if not any(line.x for line in lines):
        return tag("p", {"class": "none"}, "There is nothing to draw yet.")
    x_axis = axis((v for line in lines for v in line.x), log=block.log_x, tight=True)
    y_axis = axis(_heights(lines), log=block.log_y)
    plot = tag(
        "svg",
        {"class": "plot", "role": "img", "aria-label": f"{block.title}. {_in_words(lines, block)}"},
        _grid(x_axis, y_axis),
        *(_drawn(line, x_axis, y_axis) for line in lines),
        _dots(lines, x_axis, y_axis),
        _hover(lines, x_axis, block),
    )
    thinned = any(line.thinned for line in lines)
    return join(
        [
            _legend(lines) if len(lines) > 1 else Html(""),
            tag("div", {"class": "ylabel", "aria-hidden": "true"}, block.y_label),
            tag("div", {"class": "plotbox"}, plot),
            tag("div", {"class": "xlabel", "aria-hidden": "true"}, block.x_label),
            tag("p", {"class": "fine"}, "Averaged over neighbouring points; the band is their range.")
            if thinned
            else Html(""),
            _numbers(lines, block),
        ]
    )


def _line(series: Series, index: int) -> Line:
    order = sorted((i for i, x in enumerate(series.x) if math.isfinite(x)), key=lambda i: series.x[i])
    x, y = [series.x[i] for i in order], [series.y[i] for i in order]
    low = [series.low[i] for i in order] if series.low is not None else None
    high = [series.high[i] for i in order] if series.high is not None else None
    css = "aside dashed" if series.dashed else f"c{index % COLOURS}" + (" dashed" if index >= COLOURS else "")
    if len(x) <= MAX_POINTS:
        return Line(series.name, x, y, low, high, css, thinned=False)
    size = math.ceil(len(x) / MAX_POINTS)
    buckets = [slice(i, i + size) for i in range(0, len(x), size)]
    return Line(
        series.name,
        [_of(_mean, x[b]) for b in buckets],
        [_of(_mean, y[b]) for b in buckets],
        [_of(min, (low or y)[b]) for b in buckets],
        [_of(max, (high or y)[b]) for b in buckets],
        css,
        thinned=True,
    )


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return math.fsum(found) / len(found)


def _of(function: Callable[[list[float]], float], values: Sequence[float]) -> float:
    finite = [v for v in values if math.isfinite(v)]
    return function(finite) if finite else math.nan


def _heights(lines: Sequence[Line]) -> Iterable[float]:
    """What the height must hold. A thinned line's range may leave the plot: one spike would flatten the rest."""
    for line in lines:
        yield from line.y
        if not line.thinned:
            yield from line.low or ()
            yield from line.high or ()


def _grid(x_axis: Axis, y_axis: Axis) -> Html:
    parts = []
    for tick, text in zip(y_axis.ticks, ticks(y_axis.ticks), strict=True):
        y = percent(1 - y_axis.at(tick))
        parts.append(tag("line", {"class": "grid", "x1": 0, "x2": "100%", "y1": y, "y2": y}))
        parts.append(tag("text", {"class": "tick", "x": -8, "y": y, "dy": "0.32em", "text-anchor": "end"}, text))
    for tick, text in zip(x_axis.ticks, ticks(x_axis.ticks), strict=True):
        x = percent(x_axis.at(tick))
        parts.append(tag("line", {"class": "mark", "x1": x, "x2": x, "y1": "100%", "y2": "100%"}))
        parts.append(tag("text", {"class": "tick", "x": x, "y": "100%", "dy": "1.5em", "text-anchor": "middle"}, text))
    return tag("g", {"aria-hidden": "true"}, *parts)


def _drawn(line: Line, x_axis: Axis, y_axis: Axis) -> Html:
    shapes = [*_bands(line, x_axis, y_axis)]
    for run in _unbroken(line.x, [line.y], x_axis, y_axis):
        points = " ".join(_point(x_axis.at(x), y_axis.at(ys[0])) for x, ys in run)
        shapes.append(tag("polyline", {"points": points, "vector-effect": "non-scaling-stroke"}))
    box = {"viewBox": f"0 0 {_SIDE} {_SIDE}", "preserveAspectRatio": "none", "width": "100%", "height": "100%"}
    return tag("svg", {"class": f"line {line.css}", "aria-hidden": "true", **box}, *shapes)


def _bands(line: Line, x_axis: Axis, y_axis: Axis) -> Iterable[Html]:
    if line.low is None or line.high is None:
        return
    for run in _unbroken(line.x, [line.low, line.high], x_axis, y_axis):
        there = [_point(x_axis.at(x), y_axis.at(ys[0])) for x, ys in run]
        back = [_point(x_axis.at(x), y_axis.at(ys[1])) for x, ys in reversed(run)]
        yield tag("polygon", {"points": " ".join(there + back)})


def _unbroken(
    xs: Sequence[float], columns: Sequence[Sequence[float]], x_axis: Axis, y_axis: Axis
) -> list[list[tuple[float, tuple[float, ...]]]]:
    """Runs of points that can be drawn: a value that is not finite breaks the line."""
    runs: list[list[tuple[float, tuple[float, ...]]]] = [[]]
    for x, *ys in zip(xs, *columns, strict=True):
        if x_axis.holds(x) and all(map(y_axis.holds, ys)):
            runs[-1].append((x, tuple(ys)))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _point(x: float, y: float) -> str:
    return f"{short(_SIDE * x)},{short(_SIDE * (1 - min(2.0, max(-1.0, y))))}"


def _dots(lines: Sequence[Line], x_axis: Axis, y_axis: Axis) -> Html:
    """A dot a point where they are few, so that a single point shows too."""
    return join(
        tag(
            "circle", {"class": f"dot {line.css}", "cx": percent(x_axis.at(x)), "cy": percent(1 - y_axis.at(y)), "r": 3}
        )
        for line in lines
        if len(line.x) <= MAX_DOTS
        for x, y in zip(line.x, line.y, strict=True)
        if x_axis.holds(x) and y_axis.holds(y)
    )


def _hover(lines: Sequence[Line], x_axis: Axis, block: Curve) -> Html:
    """Upright strips, one for each x, whose tooltip tells every line's value there."""
    xs = sorted({x for line in lines for x in line.x if x_axis.holds(x)})
    xs = xs[:: math.ceil(len(xs) / MAX_POINTS)] if xs else xs
    places = [x_axis.at(x) for x in xs]
    edges = [0.0, *((a + b) / 2 for a, b in itertools.pairwise(places)), 1.0]
    parts = []
    for index, (x, place) in enumerate(zip(xs, places, strict=True)):
        told = [f"{line.name}: {text}" for line in lines if (text := _told(line, x))]
        strip = {"x": percent(edges[index]), "width": percent(edges[index + 1] - edges[index]), "height": "100%"}
        at = percent(place)
        parts.append(
            tag(
                "g",
                {"class": "hit"},
                tag("title", {}, "\n".join([f"{block.x_label} {value(x)}", *told])),
                tag("rect", strip),
                tag("line", {"x1": at, "x2": at, "y1": 0, "y2": "100%"}),
            )
        )
    return tag("g", {"aria-hidden": "true"}, *parts)


def _told(line: Line, x: float) -> str:
    for index, here in enumerate(line.x):
        if here == x:
            text = value(line.y[index])
            if line.low is not None and line.high is not None:
                text += f" ({value(line.low[index])}–{value(line.high[index])})"
            return text
    return ""


def _legend(lines: Sequence[Line]) -> Html:
    items = [
        tag("li", {}, tag("svg", {"class": f"key line {line.css}", "aria-hidden": "true"}, _KEY), line.name)
        for line in lines
    ]
    return tag("ul", {"class": "legend"}, *items)


_KEY = Html('<line x1="0" x2="100%" y1="50%" y2="50%"></line>')


def _numbers(lines: Sequence[Line], block: Curve) -> Html:
    """The drawn values as a table, for those who can't see or hover the plot."""
    xs = sorted({x for line in lines for x in line.x})
    xs = xs[:: math.ceil(len(xs) / 60)]
    head = tag("tr", {}, *(tag("th", {"scope": "col"}, name) for name in (block.x_label, *(li.name for li in lines))))
    rows = [
        tag("tr", {}, tag("td", {}, value(x)), *(tag("td", {}, _told(line, x) or "–") for line in lines)) for x in xs
    ]
    return tag(
        "details",
        {"class": "numbers"},
        tag("summary", {}, "Numbers"),
        tag(
            "div",
            {"class": "scroll", "tabindex": 0, "role": "region", "aria-label": f"Numbers of {block.title}"},
            tag("table", {}, tag("thead", {}, head), tag("tbody", {}, *rows)),
        ),
    )


def _in_words(lines: Sequence[Line], block: Curve) -> str:
    """The chart in a sentence a line: where it starts and ends."""
    parts = []
    for line in lines:
        finite = [(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
        if finite:
            (x0, y0), (x1, y1) = finite[0], finite[-1]
            parts.append(f"{line.name}: {value(y0)} at {block.x_label} {value(x0)}, {value(y1)} at {value(x1)}")
    return "; ".join(parts)
