"""Detectors with object queries and a yes or no for each class: Deformable DETR, DINO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from espalier.errors import ModelError, Problem
from espalier.tasks.detection.prediction import THRESHOLD, Detections
from espalier.tasks.outputs import number, output, switch
from espalier.vision import boxes
from espalier.vision.geometry import Geometry

TOP = 100  # Deformable DETR's; DINO gives 300


class DetrSigmoid:
    """The `top` (100) highest of sigmoid(logits) over queries and classes; no suppression of overlapping boxes.

    `logits` (B, Q, C); `boxes` (B, Q, 4) centre x, centre y, width, height from 0 to 1 of the valid part of the input,
    mapped to source pixels. Parameters: `clip` (true) cuts boxes off at the picture's edges, which the published codes
    do not; `threshold`: from which score on a box is said.
    """

    name = "detr_sigmoid"
    version = 1

    def __call__(
        self,
        outputs: Mapping[str, NDArray[Any]],
        geometries: Sequence[Geometry],
        classes: Sequence[str],
        params: Mapping[str, Any],
    ) -> list[Detections]:
        top = int(number(params, "top", TOP, low=1, high=100_000))
        threshold = number(params, "threshold", THRESHOLD, low=0.0, high=1.0)
        clip = switch(params, "clip", True)
        logits_BQC, box_BQ4 = _checked(outputs, len(classes))
        return [
            _picture(logits_QC, box_Q4, geometry, top=top, clip=clip, threshold=threshold)
            for logits_QC, box_Q4, geometry in zip(logits_BQC, box_BQ4, geometries, strict=True)
        ]


def _checked(outputs: Mapping[str, NDArray[Any]], classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    logits_BQC, box_BQ4 = output(outputs, "logits"), output(outputs, "boxes")
    if logits_BQC.ndim != 3 or logits_BQC.shape[2] != classes:
        what = f"output 'logits' has shape {logits_BQC.shape}"
        raise ModelError(Problem("", what, f"expected (batch, queries, {classes} classes)"))
    if box_BQ4.shape != (*logits_BQC.shape[:2], 4):
        what = f"output 'boxes' has shape {box_BQ4.shape}"
        raise ModelError(Problem("", what, f"expected {(*logits_BQC.shape[:2], 4)}, a box for each query"))
    return logits_BQC, box_BQ4


def _picture(
    logits_QC: NDArray[np.float64],
    box_Q4: NDArray[np.float64],
    geometry: Geometry,
    *,
    top: int,
    clip: bool,
    threshold: float,
) -> Detections:
    # Of equal scores the first counts: float32's sigmoid has many ties near 1, its logits have few.
    best = np.argsort(-logits_QC.ravel(), kind="stable")[:top]
    query, class_id = np.divmod(best, logits_QC.shape[1])
    height, width = geometry.valid_hw
    box_in = boxes.xyxy_from_cxcywh(box_Q4[query]) * (width, height, width, height)
    box_src = geometry.boxes_to_source(box_in)
    box_src = boxes.clip(box_src, geometry.source_hw) if clip else box_src
    box_src[:, 2:] = np.maximum(box_src[:, 2:], box_src[:, :2])  # a network may give a negative width
    return Detections(box_src, expit(logits_QC.ravel()[best]), class_id, query=query, threshold=threshold)


DECODER = DetrSigmoid()
