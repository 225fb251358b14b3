"""What a detector says of one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

THRESHOLD = 0.3  # until one is chosen on pictures: sigmoids trained with the focal loss stay low
DECIMALS = 2  # of a pixel in files
NAMED = 4  # classes that a line of words counts


@dataclass(frozen=True, eq=False)
class Detections:
    """n boxes with score and class, best first as a decoder gives them. `d[d.score > 0.5]` are those rows.

    A model gives many boxes that it hardly believes in: `said` are those whose score reaches `threshold`, which are
    what is drawn and written; scoring looks at all. `query` is the number of the network's query behind each box, -1
    where there is none. In a video that is tracked, `track_id` is the same for the same object in every frame, -1 for
    an object that has none. Raises ValueError for rows that are none.
    """

    box_xyxy: NDArray[Any]  # (n, 4) float32, source pixels
    score: NDArray[Any]  # (n,) float32, 0 to 1
    class_id: NDArray[Any]  # (n,) int64, 0…C-1
    query: NDArray[Any] | None = None  # (n,) int64
    threshold: float = THRESHOLD
    track_id: NDArray[Any] | None = None  # (n,) int64

    def __post_init__(self) -> None:
        box_N4 = np.asarray(self.box_xyxy, np.float32)
        score, class_id = np.asarray(self.score, np.float32), np.asarray(self.class_id, np.int64)
        count = len(box_N4)
        query = np.full(count, -1, np.int64) if self.query is None else np.asarray(self.query, np.int64)
        if box_N4.shape != (count, 4) or not all(column.shape == (count,) for column in (score, class_id, query)):
            shapes = f"{box_N4.shape}, {score.shape}, {class_id.shape}, {query.shape}"
            raise ValueError(f"boxes, scores, classes and queries must be (n, 4), (n,), (n,), (n,), not {shapes}")
        if not (np.isfinite(box_N4).all() and (box_N4[:, 2:] >= box_N4[:, :2]).all()):
            raise ValueError("boxes must be finite, and end where they begin or after")
        if not ((score >= 0) & (score <= 1)).all():  # NaN is neither
            raise ValueError("scores must lie between 0 and 1")
        if not 0 <= self.threshold <= 1:
            raise ValueError("the threshold must lie between 0 and 1")
        if count and class_id.min() < 0:
            raise ValueError("class ids count from 0")
        if self.track_id is not None:
            object.__setattr__(self, "track_id", np.asarray(self.track_id, np.int64))
        for name, column in (("box_xyxy", box_N4), ("score", score), ("class_id", class_id), ("query", query)):
            object.__setattr__(self, name, column)

    @classmethod
    def none(cls, *, threshold: float = THRESHOLD) -> Self:
        """No box at all."""
        return cls(np.zeros((0, 4)), np.zeros(0), np.zeros(0), threshold=threshold)

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, rows: Any) -> Self:
        """Those rows: a mask, a slice, numbers; a single number gives one row."""
        rows = [rows] if isinstance(rows, (int, np.integer)) else rows
        return replace(self, **{name: getattr(self, name)[rows] for name in self._columns()})

    def _columns(self) -> tuple[str, ...]:
        """The fields that have a row for each box."""
        names = (name for name in self.__dataclass_fields__ if name != "threshold")
        return tuple(name for name in names if getattr(self, name) is not None)

    @property
    def said(self) -> Self:
        """The rows whose score reaches the threshold."""
        return self[self.score >= np.float32(self.threshold)]

    def label(self, row: int, classes: Sequence[str]) -> str:
        """A row in words, such as 'crown 97 %', or 'crown 97 % #3' of track 3."""
        track = -1 if self.track_id is None else int(self.track_id[row])
        return f"{classes[self.class_id[row]]} {100 * self.score[row]:.0f} %" + (f" #{track}" if track >= 0 else "")

    @property
    def coloured_by(self) -> NDArray[np.int64]:
        """(n,) the number that gives each box its colour: its track's, else its class's."""
        if self.track_id is None:
            return self.class_id
        return np.where(self.track_id >= 0, self.track_id, self.class_id)


def words(prediction: Detections, classes: Sequence[str]) -> str:
    """Such as '3 objects: crown 2, trunk 1'."""
    said = prediction.said
    counts = np.bincount(said.class_id, minlength=len(classes))
    order = [int(c) for c in np.argsort(-counts, kind="stable") if counts[c]]
    named = ", ".join(f"{classes[c]} {counts[c]}" for c in order[:NAMED]) + (", …" if len(order) > NAMED else "")
    return f"{len(said)} object{'' if len(said) == 1 else 's'}" + (f": {named}" if order else "")


def rows(prediction: Detections, classes: Sequence[str]) -> list[dict[str, Any]]:
    """A flat record for each box that is said: class, score, and its edges in source pixels."""
    said = prediction.said
    return [
        {
            "class": classes[class_id],
            "score": round(float(score), 6),
            **{edge: round(float(v), DECIMALS) for edge, v in zip(("x1", "y1", "x2", "y2"), box, strict=True)},
            **_track(said, row),
        }
        for row, (box, score, class_id) in enumerate(zip(said.box_xyxy, said.score, said.class_id, strict=True))
    ]


def _track(said: Detections, row: int) -> dict[str, Any]:
    if said.track_id is None:
        return {}
    return {"track_id": int(said.track_id[row]) if said.track_id[row] >= 0 else None}


def to_json(prediction: Detections, classes: Sequence[str]) -> dict[str, Any]:
    """The boxes that are said, and from which score on."""
    objects = [
        {
            "class": row["class"],
            "score": row["score"],
            "box_xyxy": [row[edge] for edge in ("x1", "y1", "x2", "y2")],
            **({"track_id": row["track_id"]} if "track_id" in row else {}),
        }
        for row in rows(prediction, classes)
    ]
    return {"threshold": prediction.threshold, "objects": objects}
