"""What a person sees while an action works: one progress line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from espalier.runs.events import Event
from espalier.runs.run import Run

if TYPE_CHECKING:
    from rich.live import Live

PLAIN_EVERY_S = 10.0


@contextmanager
def show(run: Run, stream: TextIO, *, every_s: float = PLAIN_EVERY_S) -> Iterator[None]:
    """Shows the run's events on `stream` as long as the block runs.

    A terminal gets one line that moves; anything else a line for each epoch and for a step or progress every `every_s`
    seconds.
    """
    if stream.isatty():
        with _moving_line(stream) as listener:
            yield from _listening(run, listener)
    else:
        yield from _listening(run, PlainLines(stream, every_s=every_s))


def _listening(run: Run, listener: Callable[[Event], None]) -> Iterator[None]:
    run.listeners.append(listener)
    try:
        yield
    finally:
        run.listeners.remove(listener)


class PlainLines:
    """A listener that prints whole lines: for logs, pipes and notebooks."""

    def __init__(self, stream: TextIO, *, every_s: float = PLAIN_EVERY_S) -> None:
        self.stream = stream
        self.every_s = every_s
        self._last = -float("inf")

    def __call__(self, event: Event) -> None:
        if event["kind"] in LINES:
            if time.monotonic() - self._last < self.every_s:
                return
            self._last = time.monotonic()
            self._print(LINES[event["kind"]](event))
        elif line := said(event):
            self._print(line)

    def _print(self, line: str) -> None:
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        print(line.encode(encoding, "replace").decode(encoding), file=self.stream, flush=True)


class MovingLine:
    """A listener that keeps the newest step or progress on the terminal's last line, and prints the rest above it."""

    def __init__(self, live: Live) -> None:
        self.live = live

    def __call__(self, event: Event) -> None:
        if event["kind"] in LINES:
            self.live.update(_bar_and_text(event))
        elif line := said(event):
            self.live.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _moving_line(stream: TextIO) -> Iterator[MovingLine]:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream)
    with Live("", console=console, refresh_per_second=5, transient=True, redirect_stdout=False) as live:
        yield MovingLine(live)


def _bar_and_text(event: Event) -> Any:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    line = Table.grid(padding=(0, 1))
    line.add_column(width=16)
    line.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    total, done = event.get("total_steps", event.get("total")), event.get("step", event.get("done"))
    bar = ProgressBar(total=float(total or 1), completed=float(done or 0), width=16)
    line.add_row(bar, Text(LINES[event["kind"]](event)))
    return line


def said(event: Event) -> str:
    """The event as a line for people; '' for one that people need not read as it happens."""
    kind = event["kind"]
    if kind == "say":
        return clean(event.get("text"))
    if kind == "warning":
        return f"warning: {clean(event.get('text'))}"
    if kind == "decision":
        return decision_line(event)
    if kind == "epoch":
        return epoch_line(event)
    if kind == "resumed":
        return "going on from the last checkpoint"
    return ""


def decision_line(event: Mapping[str, Any]) -> str:
    """`train.batch_size: auto → 8 (largest that fits 22 GB)`."""
    asked, chosen, reason = event.get("asked"), event.get("chosen"), event.get("reason")
    line = f"{event.get('field')}: {_brief(asked)} → {_brief(chosen)}"
    return clean(f"{line} ({reason})" if reason else line)


def step_line(event: Mapping[str, Any]) -> str:
    """`step 120/600 · epoch 3 · 1:23 left · loss 0.432 · lr 3e-04 · 123 images/s · waiting 2 % · 812 MB`."""
    total = event.get("total_steps")
    parts = [f"step {event.get('step')}/{total}" if total else f"step {event.get('step')}"]
    if event.get("epoch") is not None:
        parts.append(f"epoch {event['epoch']}")
    parts += [text for key, form in _STEP_PARTS.items() if (text := _formatted(form, event.get(key)))]
    return clean(" · ".join(parts))


def progress_line(event: Mapping[str, Any]) -> str:
    """`corruptions · 12/36 pictures · 1:23 left`."""
    parts = [str(event.get("what")), f"{event.get('done')}/{event.get('total')} {event.get('unit')}"]
    return clean(" · ".join([*parts, *filter(None, [_formatted(_STEP_PARTS["eta_s"], event.get("eta_s"))])]))


LINES: dict[str, Callable[[Mapping[str, Any]], str]] = {"step": step_line, "progress": progress_line}
"""Kinds of events that replace each other on the terminal's last line."""


def epoch_line(event: Mapping[str, Any]) -> str:
    """`epoch 3 · accuracy 0.9120 · log_loss 0.2310`."""
    figures = event.get("figures") or {}
    told = [f"{name} {value:.4f}" for name, value in figures.items() if isinstance(value, (int, float))]
    return clean(" · ".join([f"epoch {event.get('epoch')}", *told]))


def duration(seconds: float) -> str:
    """`1:23`, or `2:03:04` from an hour on."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def losses(value: Mapping[str, Any]) -> str:
    """`loss 0.432`, and its parts when there is more than one."""
    told = {name: float(v) for name, v in value.items() if isinstance(v, (int, float))}
    total = told.pop("total", None)
    parts = ", ".join(f"{name} {v:.3g}" for name, v in told.items()) if len(told) > 1 else ""
    if total is None:
        return f"loss {parts}" if parts else ""
    return f"loss {total:.4g}" + (f" ({parts})" if parts else "")


def clean(text: object) -> str:
    """The text without control characters: a file or class name can't drive the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in str(text))


_STEP_PARTS: dict[str, Callable[[Any], str]] = {
    "eta_s": lambda v: f"{duration(v)} left",
    "loss": losses,
    "lr": lambda v: f"lr {v:.2g}",
    "images_per_s": lambda v: f"{v:.0f} images/s" if v >= 10 else f"{v:.1f} images/s",
    "data_wait": lambda v: f"waiting {100 * v:.0f} %",
    "memory_mb": lambda v: f"{v:.0f} MB",
}


def _formatted(form: Callable[[Any], str], value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float, Mapping)):
        return ""
    return form(value)


def _brief(value: Any) -> str:
    if isinstance(value, (list, tuple)) and len(value) > 6:
        return f"{', '.join(map(str, value[:5]))}, … ({len(value)})"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)
