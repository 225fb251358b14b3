"""metrics.csv, derived from events.jsonl: one row for each optimiser step that was reported and each epoch."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from espalier import storage
from espalier.runs import events

NAME = "metrics.csv"
_LEAD = ("kind", "epoch", "step")


def rows(found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The `step` and `epoch` events as flat rows: `loss.total`, `figures.accuracy`, `lr`, …"""
    return [_flat(event) for event in found if event["kind"] in ("step", "epoch")]


def write_metrics(run_path: Path) -> Path | None:
    """Where metrics.csv was written, or None when the run has neither steps nor epochs. Raises StorageError."""
    table = rows(events.read_events(run_path / events.NAME))
    if not table:
        return None
    columns = [*_LEAD, *sorted({key for row in table for key in row}.difference(_LEAD))]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    storage.write_atomic(run_path / NAME, text.getvalue())
    return run_path / NAME


def _flat(event: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, value in event.items():
        if isinstance(value, Mapping):
            row.update({f"{key}.{name}": item for name, item in value.items()})
        elif key == "kind" or value is None or isinstance(value, (int, float)):
            row[key] = value
    return row
