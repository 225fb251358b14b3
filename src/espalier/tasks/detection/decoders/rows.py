"""The raw outputs that every detection decoder starts from: a row of logits and a box for each answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.errors import ModelError, Problem
from espalier.tasks.outputs import output
from espalier.vision import boxes
from espalier.vision.geometry import Geometry

Rows = NDArray[np.float64]


def rows(outputs: Mapping[str, NDArray[Any]], classes: int) -> tuple[Rows, Rows]:
    """`logits` (B, Q, C) and `boxes` (B, Q, 4). Raises ModelError when one is missing, misshapen or not finite."""
    logits_BQC, box_BQ4 = output(outputs, "logits"), output(outputs, "boxes")
    if logits_BQC.ndim != 3 or logits_BQC.shape[2] != classes:
        what = f"output 'logits' has shape {logits_BQC.shape}"
        raise ModelError(Problem("", what, f"expected (batch, answers, {classes} classes)"))
    if box_BQ4.shape != (*logits_BQC.shape[:2], 4):
        what = f"output 'boxes' has shape {box_BQ4.shape}"
        raise ModelError(Problem("", what, f"expected {(*logits_BQC.shape[:2], 4)}, a box for each answer"))
    return logits_BQC, box_BQ4


def best(logits_QC: Rows, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Rows]:
    """Row, class and logit of the `count` highest, highest first.

    Only what is high enough is sorted: a dense detector says much. Of equal ones the first counts: float32's sigmoid
    has many ties near 1, its logits have few.
    """
    logit = logits_QC.ravel()
    high = np.flatnonzero(logit >= np.partition(logit, -count)[-count]) if count < len(logit) else np.arange(len(logit))
    place = high[np.argsort(-logit[high], kind="stable")[:count]]
    row, class_id = np.divmod(place, logits_QC.shape[1])
    return row, class_id, logit[place]


def placed(box_Q4: Rows, geometry: Geometry, *, clip: bool) -> Rows:
    """Corners in source pixels, of cx, cy, w, h relative to the valid part of the input."""
    height, width = geometry.valid_hw
    box_in = boxes.xyxy_from_cxcywh(box_Q4) * (width, height, width, height)
    box_src = geometry.boxes_to_source(box_in)
    box_src = boxes.clip(box_src, geometry.source_hw) if clip else box_src
    box_src[:, 2:] = np.maximum(box_src[:, 2:], box_src[:, :2])  # a network may give a negative width
    return box_src
