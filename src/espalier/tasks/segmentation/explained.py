"""What of a segmenter's answer can be explained: a class, or the class that is said at one pixel."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.errors import Problem, UsageError
from espalier.tasks.base import Answer, ExplainTarget, class_asked
from espalier.tasks.segmentation.prediction import SegmentMap, shares
from espalier.vision.class_maps import cells_shown

OTHERS = "or @X:Y for what is said at that pixel, CLASS@X:Y for a class at a pixel"
_PIXEL = re.compile(r"\s*(\d+)\s*[,:]\s*(\d+)\s*")
Cells = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows and columns of the map of logits."""


def targets(answer: Answer, asked: Sequence[str], classes: Sequence[str]) -> list[ExplainTarget]:
    """The classes asked for, each where it is said (a class that is said nowhere: in the whole picture), or pixels;
    without words the largest region that is no background.

    Raises UsageError for a word that fits none.
    """
    prediction: SegmentMap = answer.prediction
    words = list(asked) or [classes[_own(prediction, classes)]]
    return [_target(word, answer, classes) for word in words]


def _own(prediction: SegmentMap, classes: Sequence[str]) -> int:
    """The largest region that is no background; the largest class where there is none."""
    regions = set(prediction.regions(classes))
    found = [class_id for class_id, _ in shares(prediction)]
    return next((class_id for class_id in found if class_id in regions), found[0])


def _target(word: str, answer: Answer, classes: Sequence[str]) -> ExplainTarget:
    name, at, place = word.rpartition("@")
    pixel = _PIXEL.fullmatch(place if at else word)
    if pixel is None:
        class_id = class_asked(word, classes, others=OTHERS)
        return _of_cells(word, class_id, _cells_of(class_id, answer), classes, f"'{classes[class_id]}'")
    x, y = int(pixel[1]), int(pixel[2])
    height, width = answer.prediction.size_hw
    if not (x < width and y < height):
        raise UsageError(Problem("explain.targets", f"pixel {x},{y} is not in the picture", f"{width} × {height} px"))
    class_id = class_asked(name, classes, others=OTHERS) if name else int(answer.prediction.class_HW[y, x])
    words = f"'{classes[class_id]}' at pixel {x}, {y}"
    same = f"{classes[class_id]}@{x}:{y}"
    return _of_cells(word, class_id, _cell_at(x, y, answer), classes, words, same=same)


def _of_cells(
    asked: str, class_id: int, cells: Cells, classes: Sequence[str], words: str, *, same: str = ""
) -> ExplainTarget:
    """A class at some cells of the map of logits: its mean softmax there, and its mean logit."""

    def scores(outputs: Mapping[str, NDArray[Any]], predictions: Sequence[Any]) -> NDArray[np.float64]:
        logits_BCN = np.asarray(outputs["logits"], np.float64)[:, :, cells[0], cells[1]]
        raised_BCN = np.exp(logits_BCN - logits_BCN.max(axis=1, keepdims=True))
        return np.asarray((raised_BCN[:, class_id] / raised_BCN.sum(axis=1)).mean(axis=1), np.float64)

    def activation(outputs: Mapping[str, Any]) -> Any:
        return outputs["logits"][:, class_id][:, cells[0], cells[1]].mean(1)

    return ExplainTarget(asked, words, scores, activation, same)


def _cells_of(class_id: int, answer: Answer) -> Cells:
    """Where the class has the highest logit; all cells that show the picture where it has none."""
    logits_Chw = np.asarray(answer.outputs["logits"])[0]
    height, width = cells_shown(logits_Chw.shape[1:], answer.geometry)
    shown_Chw = logits_Chw[:, :height, :width]
    rows, columns = np.nonzero(shown_Chw.argmax(axis=0) == class_id)
    if not len(rows):
        rows, columns = np.nonzero(np.ones(shown_Chw.shape[1:], np.bool_))
    return rows, columns


def _cell_at(x: int, y: int, answer: Answer) -> Cells:
    """The cell that the middle of a pixel of the source lies in."""
    geometry, cells_hw = answer.geometry, np.shape(answer.outputs["logits"])[2:]
    place_xy = geometry.to_input(np.array([[x + 0.5, y + 0.5]]))[0]
    row, column = (
        int(np.clip(place * count / side, 0, count - 1))
        for place, count, side in zip(place_xy[::-1], cells_hw, geometry.input_hw, strict=True)
    )
    return np.array([row]), np.array([column])
