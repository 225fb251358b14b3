"""The vocabulary of a report: what an action or a task can show, without knowing how a page draws it.

A block is plain data that JSON can hold. Actions emit blocks as events; `runs.report` renders them. A new task needs
no change of the report: it describes its result in these words.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Figure:
    """One number with its 95 % interval: `low` and `high` are None when there is none to give (say why in `note`)."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""  # "%" values are fractions 0-1 that are shown × 100; "points" are differences of such
    note: str = ""


@dataclass(frozen=True)
class Headline:
    """The figures a reader wants first; the first one is the largest on the page."""

    kind: ClassVar[str] = "headline"
    title: str
    figures: Sequence[Figure]
    note: str = ""


@dataclass(frozen=True)
class Series:
    """One line of a plot. `low` and `high` draw a band around `y`."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    dashed: bool = False


@dataclass(frozen=True)
class Curve:
    """A plot of lines."""

    kind: ClassVar[str] = "curve"
    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    note: str = ""
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Bars:
    """A bar for each name; `low` and `high` draw error bars."""

    kind: ClassVar[str] = "bars"
    title: str
    names: Sequence[str]
    values: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers; None is an empty cell; a Figure shows its interval."""

    kind: ClassVar[str] = "table"
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | int | Figure | None]]
    note: str = ""


@dataclass(frozen=True)
class Matrix:
    """A heat map of counts: `counts[row][column]`, rows are the truth and columns the prediction."""

    kind: ClassVar[str] = "matrix"
    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    counts: Sequence[Sequence[float]]
    note: str = ""
    unit: str = "pictures"  # what is counted


@dataclass(frozen=True)
class Picture:
    """A picture file inside the run folder (`path` is relative to it), with its caption; `mark` is good, bad or ''."""

    path: str
    caption: str
    mark: str = ""


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side; `large` ones are fewer to a line."""

    kind: ClassVar[str] = "gallery"
    title: str
    pictures: Sequence[Picture]
    note: str = ""
    large: bool = False


@dataclass(frozen=True)
class Text:
    """A paragraph, or with `code` a block of commands to copy."""

    kind: ClassVar[str] = "text"
    title: str
    text: str
    code: bool = False


Block = Headline | Curve | Bars | Table | Matrix | Gallery | Text


def to_json(block: Block) -> dict[str, Any]:
    """The block as plain JSON data with its `kind`; a Figure in a table cell becomes `{"figure": {…}}`."""
    return {"kind": block.kind, **{f.name: _plain(getattr(block, f.name)) for f in dataclasses.fields(block)}}


def _plain(value: Any) -> Any:
    if isinstance(value, Figure):
        return {"figure": dataclasses.asdict(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (str, bytes)) or value is None:
        return value
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return value.tolist()
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    return value
