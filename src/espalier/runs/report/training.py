"""Curves of a training, from its `step` and `epoch` events."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from espalier.blocks import Block, Curve, Series

_MAX_FIGURES = 8
Events = Sequence[Mapping[str, Any]]


def blocks(events: Events) -> list[Block]:
    """Loss, learning rate, each validation figure and the pace, as far as they were reported."""
    steps = _parts([e for e in events if e["kind"] == "step"], "step")
    epochs = _parts([e for e in events if e["kind"] == "epoch"], "epoch")
    return [*_losses(steps), *_figures(epochs), *_rate(steps), *_pace(steps)]


def _parts(events: Events, counter: str) -> list[Events]:
    """One list for each training of the run: a counter that falls back starts the next (folds, then the final one)."""
    parts: list[list[Mapping[str, Any]]] = []
    last = math.inf
    for event in events:
        now = _number(event.get(counter))
        if now < last or not parts:
            parts.append([])
        parts[-1].append(event)
        last = now
    return [part for part in parts if part]


def _losses(parts: list[Events]) -> list[Block]:
    if len(parts) == 1:
        names = list(dict.fromkeys(name for e in parts[0] for name in _mapping(e.get("loss"))))
        names = ["total"] if "total" in names and len(names) <= 2 else names
        series = [_series(parts[0], "step", "loss", name, name) for name in names]
    else:
        series = [_series(p, "step", "loss", "total", f"training {n}") for n, p in enumerate(parts, start=1)]
    return _curve("Loss", "step", "loss", series)


def _figures(parts: list[Events]) -> list[Block]:
    names = list(dict.fromkeys(name for part in parts for e in part for name in _mapping(e.get("figures"))))
    found: list[Block] = []
    for name in names[:_MAX_FIGURES]:
        many = len(parts) > 1
        series = [
            _series(p, "epoch", "figures", name, f"training {n}" if many else name)
            for n, p in enumerate(parts, start=1)
        ]
        found += _curve(f"Validation {name.replace('_', ' ')}", "epoch", name.replace("_", " "), series)
    return found


def _rate(parts: list[Events]) -> list[Block]:
    return _curve("Learning rate", "step", "rate", [_plain_series(parts[-1], "lr", "rate")] if parts else [])


def _pace(parts: list[Events]) -> list[Block]:
    return _curve(
        "Pace", "step", "images per second", [_plain_series(parts[-1], "images_per_s", "images/s")] if parts else []
    )


def _curve(title: str, x_label: str, y_label: str, series: Sequence[Series]) -> list[Block]:
    drawn = [s for s in series if len(s.x) > 1]
    return [Curve(title, x_label, y_label, drawn)] if drawn else []


def _series(events: Events, x: str, group: str, key: str, name: str) -> Series:
    points = [(_number(e.get(x)), _number(_mapping(e.get(group)).get(key))) for e in events]
    return _of_points(name, points)


def _plain_series(events: Events, key: str, name: str) -> Series:
    return _of_points(name, [(_number(e.get("step")), _number(e.get(key))) for e in events if key in e])


def _of_points(name: str, points: Sequence[tuple[float, float]]) -> Series:
    kept = [(x, y) for x, y in points if math.isfinite(x)]
    finite = any(math.isfinite(y) for _, y in kept)
    return Series(name, [x for x, _ in kept] if finite else [], [y for _, y in kept] if finite else [])


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
