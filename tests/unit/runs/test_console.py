"""What a person sees."""

from __future__ import annotations

import io

import pytest

from espalier.runs.console import PlainLines, clean, decision_line, duration, epoch_line, show, step_line
from espalier.runs.run import Run

STEP = {
    "kind": "step", "step": 120, "total_steps": 600, "epoch": 3, "loss": {"total": 0.4321}, "lr": 3e-4,
    "images_per_s": 123.4, "data_wait": 0.018, "memory_mb": 812.4, "eta_s": 83,
}  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_step_line() -> None:
    want = "step 120/600 · epoch 3 · 1:23 left · loss 0.4321 · lr 0.0003 · 123 images/s · waiting 2 % · 812 MB"
    assert step_line(STEP) == want


def test_a_step_with_gaps() -> None:
    assert step_line({"step": 1, "loss": {"total": None}, "eta_s": None, "lr": None}) == "step 1"
    assert step_line({"step": 1, "loss": {"total": 1.0, "a": 0.25, "b": 0.75}}) == "step 1 · loss 1 (a 0.25, b 0.75)"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (83.4, "1:23"), (7384, "2:03:04"), (-1, "0:00")])
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_words() -> None:
    assert epoch_line({"epoch": 3, "figures": {"accuracy": 0.912, "x": None}}) == "epoch 3 · accuracy 0.9120"
    line = decision_line(
        {"field": "data.classes", "asked": "auto", "chosen": list("abcdefgh"), "reason": "the folders"}
    )
    assert line == "data.classes: auto → a, b, c, d, e, … (8) (the folders)"
    assert clean("a\x1b[31mb\u202ec") == "a�[31mb�c"


def test_plain_lines_are_few() -> None:
    stream = io.StringIO()
    with Run.nowhere() as run, show(run, stream, every_s=1000):
        for _ in range(50):
            run.emit("step", step=1)
        run.emit("epoch", epoch=0, figures={"accuracy": 0.5})
        run.warn("small")
    assert stream.getvalue() == "step 1\nepoch 0 · accuracy 0.5000\nwarning: small\n"


def test_nothing_is_heard_after_the_block() -> None:
    stream = io.StringIO()
    with Run.nowhere() as run:
        with show(run, stream):
            run.say("in")
        run.say("out")
    assert stream.getvalue() == "in\n"


def test_a_poor_terminal_gets_question_marks() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    PlainLines(stream)({"kind": "say", "text": "auto → 8"})
    stream.seek(0)
    assert stream.read() == "auto ? 8\n"


def test_a_terminal_gets_one_moving_line() -> None:
    stream = Terminal()
    with Run.nowhere() as run, show(run, stream):
        run.say("[bold]not markup[/bold]")
        run.emit("step", step=1, total_steps=2, loss={"total": 1.5})
    assert "[bold]not markup[/bold]" in stream.getvalue()
    assert "loss 1.5" in stream.getvalue()
