"""What `predict` says of one picture or frame, as all of its writers take it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from espalier.actions.file_names import file_name
from espalier.actions.models import OpenModel
from espalier.runtime.video import FrameQuery
from espalier.tasks.base import ImageQuery
from espalier.tasks.written import Annotating, SaidLabels


@dataclass(frozen=True)
class Answer:
    """The `number`-th query, counted from 0, and what the model says of it."""

    number: int
    query: ImageQuery
    prediction: Any
    model: OpenModel

    @property
    def frame(self) -> FrameQuery | None:
        """The query, if it is a video's frame."""
        return self.query if isinstance(self.query, FrameQuery) else None

    @property
    def stem(self) -> str:
        """For the names of files: the picture's name, or the video's with the frame's number."""
        if self.frame is None:
            return file_name(self.query.name)
        return f"{file_name(self.frame.video)}-{self.frame.frame:06d}"

    @property
    def place(self) -> dict[str, Any]:
        """What names the picture: its name, and of a frame its number and its time."""
        if self.frame is None:
            return {"image": self.query.name}
        return {"image": self.query.name, "frame": self.frame.frame, "time_s": self.frame.time_s}

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Flat records for CSV. A picture in which nothing is found has one all the same, or it would look as if it had
        not been asked."""
        said = self.model.task.rows(self.prediction, self.model.classes)
        return [{**self.place, **row} for row in said or [{}]]

    @cached_property
    def json(self) -> dict[str, Any]:
        """The answer in full."""
        return {**self.place, **self.model.task.to_json(self.prediction, self.model.classes)}

    @cached_property
    def labels(self) -> SaidLabels | None:
        """The answer as labels; None where the task gives none."""
        task = self.model.task
        return task.annotations(self.prediction, self.model.classes) if isinstance(task, Annotating) else None

    @cached_property
    def drawn_HWC(self) -> NDArray[np.uint8]:
        """The picture with the answer on it."""
        return self.model.task.draw(self.query.image_HWC, self.prediction, self.model.classes)

    @property
    def words(self) -> str:
        """In a few words."""
        return self.model.task.words(self.prediction, self.model.classes)


class Writer(Protocol):
    """One way of writing answers. They are handed over as they come, and never kept."""

    def add(self, answer: Answer) -> None:
        """Writes an answer."""

    def failed(self, name: str, error: str) -> None:
        """Writes that a picture or video of that name can't be read."""

    def close(self) -> list[str]:
        """Ends the files, and names them relative to the run. What was added is whole, also after an interruption."""
