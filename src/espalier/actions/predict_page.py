"""What the page of `predict` shows: how many, how fast, what was found, and some of the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier.actions.predict_answer import Answer
from espalier.blocks import Figure, Gallery, Picture, Table
from espalier.runs.run import Run
from espalier.runtime.video import VideoFacts
from espalier.vision.draw import shrink

Rows = list[Sequence[str | float | int | Figure | None]]

SHOWN, LONGEST_PX = 24, 480


@dataclass(frozen=True)
class _Shown:
    """A small drawn picture."""

    name: str
    image_HWC: NDArray[np.uint8]
    caption: str


class Page:
    """Counts answers and keeps a few, evenly spread however many there will be."""

    def __init__(self) -> None:
        self.count = self.frames = 0
        self._stride = 1
        self._shown: list[_Shown] = []
        self._objects: dict[int, int] = {}
        self._pictures: dict[int, int] = {}

    def add(self, answer: Answer) -> None:
        """One more."""
        if self.count % self._stride == 0:
            self._keep(answer)
        self.count += 1
        self.frames += answer.frame is not None
        if answer.labels is not None:
            classes, counts = np.unique(answer.labels.annotations.class_id, return_counts=True)
            for class_id, count in zip(classes.tolist(), counts.tolist(), strict=True):
                self._objects[class_id] = self._objects.get(class_id, 0) + count
                self._pictures[class_id] = self._pictures.get(class_id, 0) + 1

    def _keep(self, answer: Answer) -> None:
        if len(self._shown) == SHOWN:  # every other one makes room: those left lie twice as far apart
            self._shown, self._stride = self._shown[::2], 2 * self._stride
            if self.count % self._stride:
                return
        small_HWC = shrink(answer.drawn_HWC, LONGEST_PX)
        at = f" at {answer.frame.time_s:.2f} s" if answer.frame else ""
        caption = f"{answer.query.name}{at}: {answer.words}"
        self._shown.append(_Shown(f"page-{answer.number:05d}-{answer.stem}", small_HWC, caption))

    def show(self, run: Run, seconds: float, classes: Sequence[str], videos: Sequence[VideoFacts]) -> None:
        """The blocks."""
        rate = round(self.count / seconds, 1) if seconds else 0.0
        note = "reading and preparing the pictures included"
        run.block("result", Table("Predictions", ["pictures", "pictures a second"], [[self.count, rate]], note))
        if videos:
            columns = ["video", "frames taken", "corrupt", "dropped", "ended"]
            rows: Rows = [[v.name, v.taken, v.corrupt, v.dropped, v.ended] for v in videos]
            run.block("result", Table("Videos", columns, rows))
        if self._objects:
            order = sorted(self._objects, key=lambda c: -self._objects[c])
            found: Rows = [[classes[c], self._objects[c], self._pictures[c]] for c in order]
            run.block("result", Table("What was found", ["class", "times", "in pictures"], found))
        if self._shown:
            pictures = [
                Picture(run.picture(s.name, s.image_HWC, longest_px=LONGEST_PX), s.caption) for s in self._shown
            ]
            run.block("result", Gallery("Some of the pictures", pictures))
