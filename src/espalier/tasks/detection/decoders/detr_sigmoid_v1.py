"""Detectors with object queries and a yes or no for each class: Deformable DETR, DINO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray
from scipy.special import expit

from espalier.tasks.detection.decoders.rows import Rows, best, placed, rows
from espalier.tasks.detection.prediction import THRESHOLD, Detections
from espalier.tasks.outputs import number, switch
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
        logits_BQC, box_BQ4 = rows(outputs, len(classes))
        return [
            _picture(logits_QC, box_Q4, geometry, top=top, clip=clip, threshold=threshold)
            for logits_QC, box_Q4, geometry in zip(logits_BQC, box_BQ4, geometries, strict=True)
        ]


def _picture(
    logits_QC: Rows, box_Q4: Rows, geometry: Geometry, *, top: int, clip: bool, threshold: float
) -> Detections:
    query, class_id, logit = best(logits_QC, top)
    box_src = placed(box_Q4[query], geometry, clip=clip)
    return Detections(box_src, expit(logit), class_id, query=query, threshold=threshold)


DECODER = DetrSigmoid()
