"""Scores of a predictor: what is kept, said and shown; no network involved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from espalier.actions import evaluate, scoring
from espalier.actions.evaluate import spoken
from espalier.blocks import Figure, Headline, Text
from espalier.data.formats import read_index
from espalier.data.samples import Samples
from espalier.runs.run import Run
from espalier.spec.verbs import EvaluateSpec
from espalier.tasks import base as tasks
from espalier.tasks.classification import Classification


class Constant:
    """Says the first class of every picture."""

    def stream(self, queries: Iterator[Any]) -> Iterator[Any]:
        for query in queries:
            assert query.image_HWC.shape == (48, 56, 3)
            yield Classification(np.float32([0.8, 0.15, 0.05]))


@pytest.fixture(scope="module")
def samples(photos: Path) -> Samples:
    """Twelve pictures of each of three classes."""
    return Samples(read_index(str(photos)), tasks.get("classification"))


def test_every_picture_is_scored_and_none_is_kept(samples: Samples) -> None:
    told: list[int] = []
    found = scoring.score(Constant(), samples, bootstrap=50, seed=0, tick=told.append)
    assert found.scores.value == pytest.approx(1 / 3)
    assert told == list(range(1, 37))
    assert all(sample.query is None for sample in found.samples)
    data = scoring.figures_json(found.scores)
    assert data["main"] == "accuracy"
    assert data["pictures"] == 36
    assert data["figures"]["accuracy"]["low"] < 1 / 3 < data["figures"]["accuracy"]["high"]


def test_galleries_show_each_picture_once(samples: Samples) -> None:
    run = Run.nowhere("evaluate")
    found = scoring.score(Constant(), samples, bootstrap=0, seed=0)
    shown = scoring.galleries(run, samples, found, count=5)
    assert [gallery.title for gallery in shown] == [scoring.TITLES["most confident"], scoring.TITLES["worst"]]
    pictures = [picture for gallery in shown for picture in gallery.pictures]
    assert len(pictures) == 10
    assert len({picture.caption.rpartition("\n")[2] for picture in pictures}) == 10
    assert all((run.path / picture.path).stat().st_size > 500 for picture in pictures)
    run.close()


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        (Figure("accuracy", 0.94, 0.838, 0.979, "%"), "accuracy 94.0 % (83.8 to 97.9)"),
        (Figure("log loss", 0.25), "log loss 0.250"),
        (Figure("ECE", 0.05, unit="%"), "ECE 5.0 %"),
    ],
)
def test_words(figure: Figure, said: str) -> None:
    assert scoring.words(figure) == said


def test_difference_words() -> None:
    assert scoring.difference_words(Figure("accuracy", 0.02, -0.01, 0.05, "%")) == "accuracy +2.0 points (-1.0 to +5.0)"
    assert scoring.difference_words(Figure("log loss", -0.2, -0.3, -0.1)) == "log loss -0.200 (-0.300 to -0.100)"


def test_a_note_joins_the_headlines_own() -> None:
    block = scoring.noted(Headline("Good?", [], "36 pictures"), "out of fold")
    assert isinstance(block, Headline)
    assert block.note == "36 pictures; out of fold"
    other = Text("", "as it is")
    assert scoring.noted(other, "out of fold") is other


def test_a_difference_of_shares_is_in_points() -> None:
    assert scoring.as_difference(Figure("accuracy", 0.04, -0.02, 0.1, "%")).unit == "points"
    assert scoring.as_difference(Figure("log loss", -0.1)) == Figure("change of log loss", -0.1)


def test_what_is_said_is_the_tasks_own_choice() -> None:
    figures = {key: Figure(key, n / 10) for n, key in enumerate(("a", "b", "c", "d"))}
    scores = tasks.Scores("b", True, figures, 3)
    assert [figure.name for figure in spoken(scores)] == ["b", "a", "c", "d"]
    chosen = replace(scores, spoken=("d", "gone", "b"))
    assert [figure.name for figure in spoken(chosen)] == ["b", "d"]


def test_what_keeps_figures_low_is_a_warning(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.nowhere("evaluate")
    plain = scoring.score(Constant(), samples, bootstrap=0, seed=0)
    few = replace(plain, scores=replace(plain.scores, cautions=("only some count",)))
    monkeypatch.setattr(evaluate, "score", lambda *given, **more: few)
    model: Any = SimpleNamespace(kind="bundle", predictor=lambda **more: Constant())
    evaluate.evaluated([model, model], samples, EvaluateSpec(), run, seed=0)
    assert [event["text"] for event in run.events() if event["kind"] == "warning"] == ["only some count"]
    run.close()
