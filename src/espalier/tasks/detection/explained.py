"""What of a detector's answer can be explained: a box and its class, which one query of the network said."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from espalier.errors import Problem, UsageError
from espalier.tasks.base import Answer, ExplainTarget, class_asked
from espalier.tasks.detection.prediction import Detections
from espalier.vision import boxes

BOX = "box"
OTHERS = f"or '{BOX} 0' for the surest box, '{BOX} 1' for the next; CLASS@X:Y, or @X:Y, for the surest on that pixel"
SAME = 0.5  # two answers' boxes of one class that overlap by so much are of the same object
_PLACE = re.compile(r"(.*)@(-?\d+):(-?\d+)")
_EDGES = re.compile(r"(.*)@" + ":".join([r"(-?\d+(?:\.\d+)?)"] * 4))


def targets(answer: Answer, asked: Sequence[str], classes: Sequence[str]) -> list[ExplainTarget]:
    """The boxes asked for: by number, by a pixel that they hold, by the box (CLASS@LEFT:TOP:RIGHT:BOTTOM) of another
    answer that they overlap most, or of a class the surest; without words the surest.

    Raises UsageError for a word that fits none, and where nothing is found.
    """
    prediction: Detections = answer.prediction
    best = prediction[np.argsort(-prediction.score, kind="stable")]
    if not len(best):
        raise UsageError(Problem("explain.targets", "the model gives no box at all for this picture"))
    words = list(asked) or [_word(best, 0, classes)]
    rows = [_row(word, best, classes) for word in asked] or [0]
    return [target(word, best, row, answer, classes) for word, row in zip(words, rows, strict=True)]


def _row(word: str, best: Detections, classes: Sequence[str]) -> int:
    if word in classes:
        return _surest(best, best.class_id == list(classes).index(word), word)
    number = word.removeprefix(BOX).strip(" :")
    if word.startswith(BOX) and number.isascii() and number.isdigit():
        if int(number) < len(best):
            return int(number)
        raise UsageError(Problem("explain.targets", f"there is no '{word}'", f"{BOX} 0 to {BOX} {len(best) - 1}"))
    edges = _EDGES.fullmatch(word)
    if edges is not None:
        return _overlapping(best, class_asked(edges[1], classes), [float(edge) for edge in edges.groups()[1:]])
    place = _PLACE.fullmatch(word)
    if place is None:
        return _surest(best, best.class_id == class_asked(word, classes, others=OTHERS), word)
    fits = _hold(best.box_xyxy, int(place[2]), int(place[3]))
    return _surest(best, fits & (best.class_id == class_asked(place[1], classes)) if place[1] else fits, word)


def _hold(box_N4: NDArray[Any], x: int, y: int) -> NDArray[np.bool_]:
    """(n,) which boxes hold a pixel."""
    left, top, right, bottom = box_N4.T
    return np.asarray((left <= x) & (x <= right) & (top <= y) & (y <= bottom))


def _overlapping(best: Detections, class_id: int, box_xyxy: Sequence[float]) -> int:
    """The box of the class that overlaps this one most. Raises UsageError where that is less than `SAME`."""
    overlap_N = np.where(best.class_id == class_id, boxes.iou(best.box_xyxy, np.array([box_xyxy]))[:, 0], 0)
    if overlap_N.max() < SAME:
        what = f"no box of its class overlaps it by {SAME:g} (the nearest: {overlap_N.max():.2f})"
        raise UsageError(Problem("explain.targets", what, "a box of both answers", OTHERS))
    return int(overlap_N.argmax())


def _surest(best: Detections, fits: NDArray[np.bool_], word: str) -> int:
    rows = np.flatnonzero(fits)
    if not len(rows):
        what = f"no box of this picture is a '{word}'"
        raise UsageError(Problem("explain.targets", what, "a class or place of which there is a box", OTHERS))
    return int(rows[0])


def _same(best: Detections, row: int, classes: Sequence[str]) -> str:
    """Asks for the same object of another answer: by its class and its box."""
    return f"{classes[best.class_id[row]]}@" + ":".join(f"{edge:.1f}" for edge in best.box_xyxy[row].tolist())


def _word(best: Detections, row: int, classes: Sequence[str]) -> str:
    """Names an object by its class and the middle of its box."""
    left, top, right, bottom = best.box_xyxy[row].tolist()
    return f"{classes[best.class_id[row]]}@{(left + right) / 2:.0f}:{(top + bottom) / 2:.0f}"


def target(word: str, best: Detections, row: int, answer: Answer, classes: Sequence[str]) -> ExplainTarget:
    """One box and its class.

    On a changed picture another query may say it, so its score there is that of the class in the box that fits best:
    the highest of overlap times score (D-RISE, Petsiuk et al. 2021). Gradients are those of its own query's logit.
    """
    class_id, query = int(best.class_id[row]), int(best.query[row]) if best.query is not None else -1
    box_in = np.asarray(answer.outputs["boxes"], np.float64)[0, query]

    def scores(outputs: Mapping[str, NDArray[Any]], predictions: Sequence[Any]) -> NDArray[np.float64]:
        score_BQ = expit(np.asarray(outputs["logits"], np.float64)[:, :, class_id])
        overlap_BQ = np.stack([_overlap(box_Q4, box_in) for box_Q4 in np.asarray(outputs["boxes"], np.float64)])
        return np.asarray((score_BQ * overlap_BQ).max(axis=1), np.float64)

    def activation(outputs: Mapping[str, Any]) -> Any:
        return outputs["logits"][:, query, class_id]

    said = f"{BOX} {row}: '{classes[class_id]}', {100 * best.score[row]:.0f} %"
    return ExplainTarget(word, said, scores, activation, _same(best, row, classes))


def _overlap(box_Q4: NDArray[np.float64], box_in: NDArray[np.float64]) -> NDArray[np.float64]:
    """(Q,) intersection over union with one box; both cxcywh."""
    return boxes.iou(boxes.xyxy_from_cxcywh(box_Q4), boxes.xyxy_from_cxcywh(box_in[None]))[:, 0]
