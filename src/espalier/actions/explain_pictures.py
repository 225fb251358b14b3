"""Which pictures are explained: those that were named, else some that the model was not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from espalier.actions import labelled
from espalier.actions.models import OpenModel
from espalier.data.samples import Samples
from espalier.runs.run import Run
from espalier.runtime.sources import PictureSource, expand
from espalier.spec.sections import Spec
from espalier.tasks.base import ImageQuery

LOOKED_AT = 200
"""Pictures of the model's own set that are looked through for mistakes."""


@dataclass(frozen=True)
class Chosen:
    """A picture to explain; `note` says why it was chosen, '' for one that was named."""

    source: PictureSource
    note: str = ""

    @property
    def name(self) -> str:
        """As people know it."""
        return self.source.name

    def read(self, channels: Any, max_pixels: int) -> ImageQuery:
        """The picture. Raises ImageError."""
        return self.source.read(channels=channels, max_pixels=max_pixels)


def chosen(spec: Spec, model: OpenModel, run: Run) -> list[Chosen]:
    """The pictures named; else `explain.pictures` of the model's test or validation set, up to half of them mistakes.

    Raises InputError for names that lead nowhere, DataError where the model's own pictures are not known.
    """
    asked = spec.explain
    if asked.images:
        return [Chosen(s) for s in expand(asked.images, recursive=asked.recursive, allow_urls=asked.allow_urls)]
    pictures = labelled.for_scoring(None, model, split_name="explain.images")
    samples = pictures.samples(model, max_pixels=spec.data.max_pixels).spread(LOOKED_AT)
    run.say(f"no pictures were named: taking some of {pictures.words}")
    wrong = _mistakes(samples, model, asked.batch_size, at_most=-(-asked.pictures // 2))
    others = [row for row in range(len(samples)) if row not in wrong]
    count = min(asked.pictures - len(wrong), len(others))
    spread = [others[round(n * (len(others) - 1) / max(count - 1, 1))] for n in range(count)]
    return [_of_set(samples, row, wrong.get(row, "")) for row in [*wrong, *dict.fromkeys(spread)]]


def _mistakes(samples: Samples, model: OpenModel, batch_size: int, *, at_most: int) -> dict[int, str]:
    """Row → what was said of it and what is true, of the mistakes that the task would show first."""
    truths = list(samples)
    predictions = list(model.predictor(batch_size=batch_size).stream(sample.query for sample in truths))
    found = [m for m in model.task.mistakes(predictions, truths, model.classes) if m.wrong]
    rows: dict[int, str] = {}
    for mistake in found:
        if len(rows) < at_most:
            rows.setdefault(mistake.index, mistake.caption)
    return rows


def _of_set(samples: Samples, row: int, note: str) -> Chosen:
    return Chosen(PictureSource(samples.index.name(row), samples.index.path(row)), note)
