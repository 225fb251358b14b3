"""The same number for the same object in every frame of a video, by ByteTrack (Zhang et al. 2022).

The tracker is that of `edgefirst-tracker` (Apache-2.0), which takes the frames' own times: frames may be left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from espalier.errors import MissingExtraError, Problem, UsageError
from espalier.runtime.video import FrameQuery
from espalier.tasks.base import ImageQuery, Task
from espalier.tasks.written import Trackable

FAINT = 1 / 3
"""Of the threshold: boxes from there on keep a track alive, though they are not said."""

FOLLOWS, OVERLAPS = 0.9, 0.1
"""How far a track moves to each new box, and how much of it that must overlap. The library's 0.25 and 0.25 lag
behind at ten frames a second and less: 105 changes of number where these make one (12 boxes, 20 s; decision 0014)."""


class Tracks:
    """Gives predictions of frames their tracks; those of pictures pass. Each video counts from 1."""

    def __init__(self, task: Task, lost_s: float) -> None:
        if not isinstance(task, Trackable):
            what = f"a model for {task.name} says nothing that could be followed through a video"
            raise UsageError(Problem("predict.track", what, fix="set predict.track=none"))
        self._task, self._lost_s = task, lost_s
        self._video, self._start_s = "", 0.0
        self._tracker: Any = None
        self._numbers: dict[str, int] = {}

    def __call__(self, query: ImageQuery, prediction: Any) -> Any:
        """The prediction with its tracks. The frames of a video come in order."""
        if not isinstance(query, FrameQuery):
            return prediction
        boxes = self._task.boxes(prediction)
        if self._tracker is None or query.video != self._video:
            self._begin(query, boxes.threshold)
        near = np.flatnonzero(boxes.score >= FAINT * boxes.threshold)
        found = self._tracker.update(
            np.ascontiguousarray(boxes.box_xyxy[near], np.float32),
            np.ascontiguousarray(boxes.score[near], np.float32),
            np.ascontiguousarray(boxes.class_id[near], np.uintp),
            max(0, round((query.time_s - self._start_s) * 1e9)),
        )
        track_id = np.full(len(boxes.score), -1, np.int64)
        for row, track in zip(near, found, strict=True):
            if track is not None and boxes.said[row]:
                track_id[row] = self._numbers.setdefault(track.uuid, len(self._numbers) + 1)
        return self._task.tracked(prediction, track_id)

    def _begin(self, query: FrameQuery, threshold: float) -> None:
        try:
            from edgefirst.tracker import ByteTrack
        except ModuleNotFoundError:
            raise MissingExtraError("track", "predict.track") from None
        # What is said may begin a track: the comparison there is strict, hence the little less.
        high = float(np.nextafter(np.float32(threshold), np.float32(0)))
        self._tracker = ByteTrack(high_conf=high, iou=OVERLAPS, update=FOLLOWS, lifespan_ns=round(self._lost_s * 1e9))
        self._video, self._start_s, self._numbers = query.video, query.time_s, {}
