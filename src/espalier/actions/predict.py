"""`predict`: run a model on pictures, and write what it says as JSON, CSV and drawn pictures."""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from espalier import storage
from espalier.actions.models import OpenModel, open_model
from espalier.blocks import Gallery, Picture, Table
from espalier.errors import ImageError, Problem, UsageError
from espalier.runs.run import Run
from espalier.runtime.sources import PictureSource, expand
from espalier.spec.sections import Spec
from espalier.spec.verbs import PredictSpec
from espalier.tasks.base import ImageQuery

_SAID, _SHOWN = 20, 24
UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass
class _Reader:
    """Reads pictures one by one; those that can't be read are kept aside, so that the others are answered."""

    channels: Any
    max_pixels: int
    failed: list[Problem] = field(default_factory=list)
    unreadable: list[dict[str, Any]] = field(default_factory=list)

    def queries(self, sources: Sequence[PictureSource]) -> Iterator[ImageQuery]:
        """The pictures that can be read."""
        for source in sources:
            try:
                query = source.read(channels=self.channels, max_pixels=self.max_pixels)
            except ImageError as error:
                self.failed.extend(error.problems)
                self.unreadable.append({"image": source.name, "error": str(error)})
                continue
            yield query


def predict(spec: Spec, run: Run) -> dict[str, Any]:
    """Files written, number of pictures and seconds. Raises ImageError after all others were answered and written."""
    asked = spec.predict
    if asked.model is None:
        raise UsageError(Problem("predict.model", "no model was named", fix="espalier predict MODEL IMAGES"))
    model = open_model(asked.model, device=asked.device, backend=asked.backend, licences=spec.licences)
    sources = expand(asked.images, recursive=asked.recursive, allow_urls=asked.allow_urls)
    run.say(f"{model.name} ({model.kind}, {model.backend.name} on {model.backend.device}): {len(sources)} pictures")
    reader, start = _Reader(model.channels, spec.data.max_pixels), time.perf_counter()
    answers = _answers(model, reader, sources, asked, run)
    seconds = time.perf_counter() - start
    files = _write(run.path, answers, reader.unreadable, asked)
    _show(run, answers, seconds)
    if reader.failed:
        raise ImageError(*reader.failed[:20], *_and_more(len(reader.failed) - 20))
    return {"model": str(model.path), "task": model.task.name, "pictures": len(answers),
            "seconds": round(seconds, 3), "files": files}  # fmt: skip


@dataclass(frozen=True)
class _Answer:
    """What was said of one picture; `picture` is the drawn one, relative to the run."""

    json: dict[str, Any]
    rows: list[dict[str, Any]]
    picture: str


def _answers(
    model: OpenModel, reader: _Reader, sources: Sequence[PictureSource], asked: PredictSpec, run: Run
) -> list[_Answer]:
    folder = run.folder("pictures") if "pictures" in asked.formats else None
    answers: list[_Answer] = []
    for query, prediction in model.predictor(batch_size=asked.batch_size).pairs(reader.queries(sources)):
        picture = ""
        if folder is not None:
            picture = f"pictures/{len(answers):05d}-{file_name(query.name)}.jpg"
            _draw(model, query, prediction, run.path / picture)
        said = model.task.to_json(prediction, model.classes)
        # A picture in which nothing is found has a row all the same, or it would look as if it had not been asked.
        rows = [{"image": query.name, **row} for row in model.task.rows(prediction, model.classes) or [{}]]
        answers.append(_Answer({"image": query.name, **said}, rows, picture))
        if len(answers) <= _SAID:
            run.say(f"{query.name}: {model.task.words(prediction, model.classes)}")
    return answers


def _draw(model: OpenModel, query: ImageQuery, prediction: Any, path: Path) -> None:
    drawn_HWC = model.task.draw(query.image_HWC, prediction, model.classes)
    buffer = io.BytesIO()
    Image.fromarray(drawn_HWC).save(buffer, "JPEG", quality=90)
    storage.write_atomic(path, buffer.getvalue())


def file_name(name: str) -> str:
    """The last part of a picture's name without its ending, in letters that any file may have."""
    last = re.split(r"[/\\]", name.split("::")[0].split("?")[0].rstrip("/\\"))[-1]
    return UNSAFE.sub("_", last.rpartition(".")[0] or last)[:80] or "picture"


def _write(folder: Path, answers: Sequence[_Answer], failed: Sequence[dict[str, Any]], asked: PredictSpec) -> list[str]:
    """The names of the files written."""
    files = []
    if "json" in asked.formats:
        storage.write_json(folder / "predictions.json", [*(a.json for a in answers), *failed])
        files.append("predictions.json")
    if "csv" in asked.formats:
        storage.write_atomic(folder / "predictions.csv", _csv([*(row for a in answers for row in a.rows), *failed]))
        files.append("predictions.csv")
    return [*files, *(["pictures/"] if "pictures" in asked.formats else [])]


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["image"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _show(run: Run, answers: Sequence[_Answer], seconds: float) -> None:
    rate = len(answers) / seconds if seconds else 0.0
    note = "reading and preparing the pictures included"
    run.block("result", Table("Predictions", ["pictures", "pictures a second"], [[len(answers), round(rate, 1)]], note))
    drawn = [Picture(a.picture, str(a.json["image"])) for a in answers if a.picture][:_SHOWN]
    if drawn:
        run.block("result", Gallery("The first pictures", drawn))
    run.say(f"{len(answers)} pictures in {seconds:.1f} s; written to {run.path}")


def _and_more(count: int) -> list[Problem]:
    return [Problem("", f"… and {count} more pictures that can't be read")] if count > 0 else []
