"""What `reproduce` shows: the published settings, and the published figures beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from espalier.blocks import Figure, Table
from espalier.data.layouts import Layout
from espalier.networks.published_results import PublishedResult
from espalier.spec.sections import Spec
from espalier.tasks.base import Scores

NOT_RUN = "not run here"
HEADS = ("figure", "published", "ours", "95 % interval", "difference")
TRAINING = (
    "epochs", "batch_size", "accumulate", "optimizer", "lr", "backbone_lr_ratio", "slow_lr_ratio", "weight_decay",
    "decay_all", "schedule", "step_epochs", "step_factor", "warmup_epochs", "clip_norm", "ema_decay", "freeze",
    "precision",
)  # fmt: skip


@dataclass(frozen=True)
class Reproduced:
    """What was measured, on how many of the pictures that the published figures are of."""

    scores: Scores
    pictures: int
    whole: int

    def to_json(self, published: Mapping[str, float]) -> dict[str, Any]:
        """Each published figure as measured here."""
        figures = {key: self.scores.figures[key] for key in published if key in self.scores.figures}
        values = {key: {"value": f.value, "low": f.low, "high": f.high} for key, f in figures.items()}
        return {"pictures": self.pictures, "of": self.whole, "figures": values}


def beside(name: str, result: PublishedResult, found: Reproduced | None, why_not: str) -> tuple[Table, list[str]]:
    """The table of figures, as a block and as lines for the console."""
    rows = [_row(key, value, found) for key, value in result.figures.items()]
    notes = [f"published: {result.source}", *(f"{NOT_RUN}: {why_not}" for _ in [0] if why_not)]
    if found is not None and found.pictures != found.whole:
        notes.append(f"ours on {found.pictures} pictures, published on {found.whole:,}: not comparable")
    notes += [f"not as published: {note}" for note in result.notes]
    return Table(name, HEADS, rows, "; ".join(notes)), [*_aligned([HEADS, *rows]), *notes]


def _row(key: str, value: float, found: Reproduced | None) -> tuple[str, ...]:
    figure = None if found is None else found.scores.figures.get(key)
    if figure is None:
        return (key, f"{value:.1f}", NOT_RUN, "", "")
    return (key, f"{value:.1f}", f"{100 * figure.value:.1f}", _interval(figure), f"{100 * figure.value - value:+.1f}")


def _interval(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return "none"
    return f"{100 * figure.low:.1f} to {100 * figure.high:.1f}"


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def settings(name: str, result: PublishedResult, theirs: Spec, layout: Layout) -> tuple[Table, Table]:
    """Training, and data and evaluation, as published."""
    train = theirs.train.model_dump(mode="json")
    fields = [(f"train.{key}", _words(train[key])) for key in TRAINING]
    assert theirs.network is not None
    given = theirs.network.input
    rows = [
        ("data", f"{layout.title}: {layout.words(('train', 'val'))}"),
        ("classes", f"{result.rows} rows of the class head, by raw category id"),
        ("resize", f"{_words(given.size_hw)} ({given.fit}, {given.resample})"),
        ("kept", f"{result.decode.get('top', 'all')} best answers of a picture"),
        ("maxDets", "1, 10, 100 of them are matched (COCO's evaluation)"),
        ("threshold", f"from {result.decode.get('threshold', 0.0)} on"),
        ("boxes cut off at the edges", _words(result.decode.get("clip"))),
    ]
    return Table(f"{name}: training", ("field", "value"), fields), Table(f"{name}: data and evaluation", ("", ""), rows)


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return str(value)
