"""A predictor over labelled pictures → scores, mistakes and their pictures: what evaluate, compare and fit share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from espalier.blocks import Block, Figure, Gallery, Headline, Picture
from espalier.data.samples import Samples
from espalier.runs.run import Run
from espalier.tasks.base import Mistake, Sample, Scores, Task

TITLES = {
    "most confident": "Most confident mistakes",
    "worst": "Where the truth got the lowest score",
    "gained": "Wrong before, right now",
    "lost": "Right before, wrong now",
    "wrong class": "Found, and called something else",
    "missed": "Most objects missed",
    "false alarm": "Surest false alarms",
    "poor location": "Surest boxes that sit badly",
    "fewer mistakes": "Fewer mistakes than before",
    "more mistakes": "More mistakes than before",
}


class Predicts(Protocol):
    """What answers queries: a runtime.Predictor."""

    def stream(self, queries: Iterator[Any]) -> Iterator[Any]: ...


@dataclass(frozen=True)
class Scored:
    """Predictions and truths (without their pictures) in the order of the samples, and what they score."""

    predictions: tuple[Any, ...]
    samples: tuple[Sample, ...]
    scores: Scores
    seconds: float


def score(
    predictor: Predicts,
    samples: Samples,
    *,
    bootstrap: int,
    seed: int,
    tick: Callable[[int], None] | None = None,
) -> Scored:
    """Every sample predicted and scored; pictures are read one by one, not kept. `tick` is told how many are done."""
    truths: list[Sample] = []

    def queries() -> Iterator[Any]:
        for row in range(len(samples)):
            sample = samples[row]
            truths.append(replace(sample, query=None))
            yield sample.query

    start = time.perf_counter()
    predictions = []
    for prediction in predictor.stream(queries()):
        predictions.append(prediction)
        if tick is not None:
            tick(len(predictions))
    seconds = time.perf_counter() - start
    scores = scores_of(samples.task, samples.index.classes, predictions, truths, bootstrap=bootstrap, seed=seed)
    return Scored(tuple(predictions), tuple(truths), scores, seconds)


def scores_of(
    task: Task,
    classes: Sequence[str],
    predictions: Sequence[Any],
    samples: Sequence[Sample],
    *,
    bootstrap: int,
    seed: int,
) -> Scores:
    """What these predictions score."""
    metrics = task.metrics(classes)
    metrics.update(predictions, samples)
    return metrics.compute(bootstrap=bootstrap, seed=seed)


def words(figure: Figure) -> str:
    """Such as 'accuracy 94.0 % (83.8 to 97.9)': the value and its 95 % interval."""
    times, unit, digits = (100, " %", 1) if figure.unit == "%" else (1, f" {figure.unit}".rstrip(), 3)
    text = f"{figure.name} {figure.value * times:.{digits}f}{unit}"
    if figure.low is None or figure.high is None:
        return text
    return f"{text} ({figure.low * times:.{digits}f} to {figure.high * times:.{digits}f})"


def difference_words(figure: Figure) -> str:
    """Such as 'accuracy +2.0 points (-1.0 to +5.0)'."""
    times, unit, digits = (100, " points", 1) if figure.unit == "%" else (1, "", 3)
    text = f"{figure.name} {figure.value * times:+.{digits}f}{unit}"
    if figure.low is None or figure.high is None:
        return text
    return f"{text} ({figure.low * times:+.{digits}f} to {figure.high * times:+.{digits}f})"


def noted(block: Block, text: str) -> Block:
    """A headline with more to its note; other blocks as they are."""
    return Headline(block.title, block.figures, f"{block.note}; {text}") if isinstance(block, Headline) else block


def as_difference(figure: Figure) -> Figure:
    """The figure as the change that it is: of shares in points, not per cent."""
    unit = "points" if figure.unit == "%" else figure.unit
    return replace(figure, name=f"change of {figure.name}", unit=unit)


def figure_names(scores: Sequence[Scores]) -> dict[str, str]:
    """Key → name of every figure that some of these have: one that says nothing at all has no precision."""
    return {key: figure.name for each in scores for key, figure in each.figures.items()}


def figures_json(scores: Scores) -> dict[str, Any]:
    """The scores as the JSON data of a result."""
    figures = {
        key: {"value": f.value, "low": f.low, "high": f.high, **({"note": f.note} if f.note else {})}
        for key, f in scores.figures.items()
    }
    result: dict[str, Any] = {"main": scores.main, "pictures": scores.n, "figures": figures}
    if scores.suggested:
        result["suggested"] = {
            key: {"value": f.value, "low": f.low, "high": f.high} for key, f in scores.suggested.items()
        }
    return result


def galleries(
    run: Run,
    samples: Samples,
    scored: Scored,
    *,
    count: int,
    prefix: str = "",
    mistakes: Sequence[Mistake] | None = None,
) -> list[Gallery]:
    """The `count` first pictures of each kind of mistake; thumbnails go into the run's `pictures` folder.

    A picture is shown once, in the first kind that has it. `mistakes` are the task's own unless given.
    """
    task, classes = samples.task, samples.index.classes
    found = task.mistakes(scored.predictions, scored.samples, classes) if mistakes is None else mistakes
    rows = {samples.index.name(row): row for row in range(len(samples))}
    seen: set[str] = set()
    shown: dict[str, list[Picture]] = {}
    for mistake in found:
        kind = shown.setdefault(mistake.kind, [])
        name = scored.samples[mistake.index].name
        if len(kind) >= count or name in seen:
            continue
        seen.add(name)
        truth = scored.samples[mistake.index].target
        drawn = task.draw(samples.image(rows[name]), scored.predictions[mistake.index], classes, truth=truth)
        path = run.picture(f"{prefix}{mistake.kind.replace(' ', '-')}-{len(kind) + 1:02d}", drawn)
        kind.append(Picture(path, f"{mistake.caption}\n{name}", "bad" if mistake.wrong else "good"))
    return [Gallery(TITLES.get(kind, kind.capitalize()), pictures) for kind, pictures in shown.items() if pictures]
