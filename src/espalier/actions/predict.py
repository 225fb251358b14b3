"""`predict`: run a model on pictures, videos and streams, and write what it says in the formats asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from espalier.actions.models import OpenModel, open_model
from espalier.actions.predict_answer import Answer, Writer
from espalier.actions.predict_files import CsvFile, JsonFile
from espalier.actions.predict_labels import DATA_FORMATS, DataSets, refuse
from espalier.actions.predict_page import Page
from espalier.actions.predict_pictures import Crops, DrawnPictures
from espalier.actions.predict_tracks import Tracks
from espalier.actions.predict_video import DrawnVideos
from espalier.errors import ImageError, MissingExtraError, Problem, UsageError
from espalier.runs.run import Run
from espalier.runtime.sources import PictureSource, expand_all
from espalier.runtime.video import Frames, VideoSource
from espalier.spec.sections import Spec
from espalier.spec.verbs import PredictSpec
from espalier.tasks.base import ImageQuery

_SAID, _SAID_EVERY_S = 20, 60.0  # the first ones by name, later how many
Source = PictureSource | VideoSource


@dataclass
class _Reader:
    """Reads pictures and videos one by one; what can't be read is kept aside, so that the others are answered."""

    channels: Any
    max_pixels: int
    failed: list[Problem] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)  # (name, error)
    missing: MissingExtraError | None = None

    def queries(self, sources: Sequence[Source]) -> Iterator[ImageQuery]:
        """The pictures and frames that can be read."""
        for source in sources:
            try:
                yield from source.queries(channels=self.channels, max_pixels=self.max_pixels)
            except (ImageError, MissingExtraError) as error:
                self.failed.extend(error.problems)
                self.unreadable.append((source.name, str(error)))
                self.missing = error if isinstance(error, MissingExtraError) else self.missing


def predict(spec: Spec, run: Run) -> dict[str, Any]:
    """Files written, number of pictures and seconds. Raises ImageError after all others were answered and written."""
    asked = spec.predict
    if asked.model is None:
        raise UsageError(Problem("predict.model", "no model was named", fix="espalier predict MODEL IMAGES"))
    model = open_model(asked.model, device=asked.device, backend=asked.backend, licences=spec.licences)
    frames = Frames(asked.every, asked.every_s, None if asked.live == "auto" else asked.live, asked.timeout_s)
    sources = expand_all(asked.images, frames=frames, recursive=asked.recursive, allow_urls=asked.allow_urls)
    _check(asked, model, sources)
    run.say(f"{model.name} ({model.kind}, {model.backend.name} on {model.backend.device}): {_counted(sources)}")
    reader, page, start = _Reader(model.channels, spec.data.max_pixels), Page(), time.perf_counter()
    try:
        files = _answer(model, reader, sources, asked, run, page)
    finally:  # a camera is usually ended by Ctrl-C
        seconds = time.perf_counter() - start
        _tell(run, page, model, sources, seconds)
    if reader.missing is not None:
        raise reader.missing
    if reader.failed:
        raise ImageError(*reader.failed[:20], *_and_more(len(reader.failed) - 20))
    return {"model": str(model.path), "task": model.task.name, "pictures": page.count, "frames": page.frames,
            "seconds": round(seconds, 3), "files": files}  # fmt: skip


def _check(asked: PredictSpec, model: OpenModel, sources: Sequence[Source]) -> None:
    """Raises UsageError for wishes that can't be met, before anything is answered."""
    refuse(model.task, asked.formats)
    has_video = any(isinstance(source, VideoSource) for source in sources)
    if "video" in asked.formats and not has_video:
        raise UsageError(Problem("predict.formats", "there is no video to draw on", fix="ask for pictures instead"))
    if asked.track != "none" and not has_video:
        raise UsageError(Problem("predict.track", "there is no video in which to follow objects"))


def _counted(sources: Sequence[Source]) -> str:
    videos = sum(isinstance(source, VideoSource) for source in sources)
    counts = ((len(sources) - videos, "picture"), (videos, "video"))
    return ", ".join(f"{n} {word}{'s' * (n != 1)}" for n, word in counts if n)


def _answer(
    model: OpenModel, reader: _Reader, sources: Sequence[Source], asked: PredictSpec, run: Run, page: Page
) -> list[str]:
    """Answers everything; the files. They are whole also where this is interrupted."""
    writers, files = _writers(asked, model, run), list[str]()
    with ExitStack() as ending:  # closes the others, too, where one can't be
        for writer in reversed(writers):
            ending.callback(_close, writer, files)
        _write(model, reader, sources, asked, run, page, writers)
    return files


def _write(
    model: OpenModel,
    reader: _Reader,
    sources: Sequence[Source],
    asked: PredictSpec,
    run: Run,
    page: Page,
    writers: Sequence[Writer],
) -> None:
    """Writes each answer as it comes. The last picture is let go of before the files are ended."""
    live = any(isinstance(source, VideoSource) and source.live for source in sources)
    predictor = model.predictor(batch_size=1 if live else asked.batch_size)  # a batch of live frames would be old
    tracks = Tracks(model.task, asked.track_s) if asked.track != "none" else None
    speaker = _Speaker(run)
    for query, prediction in predictor.pairs(reader.queries(sources)):
        said = prediction if tracks is None else tracks(query, prediction)
        answer = Answer(page.count, query, said, model)
        for writer in writers:
            writer.add(answer)
        speaker.tell(answer)
        page.add(answer)
    for name, error in reader.unreadable:
        for writer in writers:
            writer.failed(name, error)


def _close(writer: Writer, files: list[str]) -> None:
    files += writer.close()


class _Speaker:
    """Tells what is said of the first pictures, and later how many there were."""

    def __init__(self, run: Run) -> None:
        self._run, self._said_at = run, time.monotonic()

    def tell(self, answer: Answer) -> None:
        """One more."""
        if answer.number < _SAID:
            self._run.say(f"{answer.query.name}: {answer.words}")
        elif time.monotonic() - self._said_at > _SAID_EVERY_S:
            self._said_at = time.monotonic()
            self._run.say(f"{answer.number} pictures so far; now {answer.query.name}")


def _writers(asked: PredictSpec, model: OpenModel, run: Run) -> list[Writer]:
    formats = set(asked.formats)
    data = tuple(name for name in DATA_FORMATS if name in formats)
    made: list[tuple[bool, Any]] = [
        ("json" in formats, lambda: JsonFile(run.path, lines=False)),
        ("jsonl" in formats, lambda: JsonFile(run.path, lines=True)),
        ("csv" in formats, lambda: CsvFile(run.path)),
        ("pictures" in formats, lambda: DrawnPictures(run.path)),
        ("video" in formats, lambda: DrawnVideos(run.path)),
        ("crops" in formats, lambda: Crops(run.path, model.classes, asked.crop_margin)),
        (bool(data), lambda: DataSets(run.path, data, model)),
    ]
    return [make() for wanted, make in made if wanted]


def _tell(run: Run, page: Page, model: OpenModel, sources: Sequence[Source], seconds: float) -> None:
    videos = [source.facts for source in sources if isinstance(source, VideoSource)]
    for facts in videos:
        for text in facts.warnings():
            run.warn(text)
    page.show(run, seconds, model.classes, videos)
    run.say(f"{page.count} pictures in {seconds:.1f} s; written to {run.path}")


def _and_more(count: int) -> list[Problem]:
    return [Problem("", f"… and {count} more pictures that can't be read")] if count > 0 else []
