"""Answers as data sets: the writers of the data formats, with how sure the model is."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np

from espalier import storage
from espalier.actions.models import OpenModel
from espalier.actions.predict_answer import Answer
from espalier.actions.predict_pictures import write_jpeg
from espalier.data import convert
from espalier.data.formats import get
from espalier.data.outlines import as_text
from espalier.data.rows import Rows
from espalier.errors import Problem, UsageError
from espalier.tasks.base import Task
from espalier.tasks.written import Annotating
from espalier.vision.draw import to_rgb8

DATA_FORMATS = ("coco", "yolo", "label_studio", "masks")
_QUALITY = 95


class DataSets:
    """A folder for each format. Only labels are kept until the end; of frames, and of pictures that no data set can
    refer to, the pixels go to `frames/`."""

    def __init__(self, folder: Path, formats: tuple[str, ...], model: OpenModel) -> None:
        self._folder, self._formats, self._model = folder, formats, model
        self._rows, self._scores = Rows({name: number for number, name in enumerate(model.classes)}), array("d")

    def add(self, answer: Answer) -> None:
        """One picture with its labels."""
        if answer.labels is None:
            return
        height, width = answer.query.image_HWC.shape[:2]
        row = self._rows.picture(self._path(answer), size_hw=(height, width))
        said = answer.labels.annotations
        outlines = said.segments or [None] * len(said.class_id)
        for class_id, box, outline in zip(said.class_id, said.box_xyxy, outlines, strict=True):
            x1, y1, x2, y2 = (float(edge) for edge in box)
            text = as_text(outline) if outline else b""
            self._rows.label(row, self._model.classes[class_id], (x1, y1, x2, y2), outline=text)
        self._scores.extend(float(score) for score in answer.labels.score)

    def failed(self, name: str, error: str) -> None:
        """Nobody knows what it shows."""

    def close(self) -> list[str]:
        """Writes the data sets."""
        index = self._rows.index(self._model.classes, root="", source=self._model.name, format="predictions")
        scores = np.array(self._scores, np.float64)
        for name in self._formats:
            convert.write_predictions(index, scores, self._folder / name, format=name, model=self._model.name)
        return [f"{name}/" for name in self._formats]

    def _path(self, answer: Answer) -> str:
        """Where the picture lies; it is written where it can't be referred to."""
        name = answer.query.name
        if answer.frame is None and not name.startswith(("http://", "https://")) and storage.exists(name):
            return name if storage.is_remote(name) or "://" in name else str(Path(name).resolve())
        path = storage.make_folder(self._folder / "frames") / f"{answer.number:05d}-{answer.stem}.jpg"
        write_jpeg(path, to_rgb8(answer.query.image_HWC), quality=_QUALITY)
        return str(path.resolve())


def refuse(task: Task, formats: tuple[str, ...]) -> None:
    """Raises UsageError for formats that can't hold what the task says; it names those that can."""
    gives = task.gives if isinstance(task, Annotating) else frozenset[str]()
    can = [name for name in DATA_FORMATS if get(name).holds & gives] + (["crops"] if "box" in gives else [])
    wrong = [name for name in formats if name in (*DATA_FORMATS, "crops") and name not in can]
    if wrong:
        said = ", ".join(sorted(gives)) or "nothing that is a label"
        what = f"{', '.join(wrong)} can't hold what a model for {task.name} says ({said})"
        raise UsageError(Problem("predict.formats", what, f"json, jsonl, csv, pictures, video{_more(can)}"))


def _more(names: list[str]) -> str:
    return "".join(f", {name}" for name in names)
