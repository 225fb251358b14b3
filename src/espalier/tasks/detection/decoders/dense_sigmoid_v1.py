"""Dense detectors with a yes or no for each class, where several cells answer for one object: FCOS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from scipy.special import expit

from espalier.tasks.detection.decoders.rows import Rows, best, placed, rows
from espalier.tasks.detection.prediction import THRESHOLD, Detections
from espalier.tasks.outputs import number, switch
from espalier.vision import boxes
from espalier.vision.geometry import Geometry

TOP = 100
CANDIDATES = 1000
OVERLAP = 0.6  # FCOS's


class DenseSigmoid:
    """Of the `candidates` (1000) highest sigmoid(logits) over cells and classes the `top` (100) that are no doubles.

    `logits` (B, N, C); `boxes` (B, N, 4) centre x, centre y, width, height from 0 to 1 of the valid part of the input,
    mapped to source pixels. A box is a double of a surer one of its class beyond an IoU of `overlap` (0.6). Parameters
    beside: `clip` (true) cuts boxes off at the picture's edges, after doubles are gone; `threshold`: from which score
    on a box is said.
    """

    name = "dense_sigmoid"
    version = 1

    def __call__(
        self,
        outputs: Mapping[str, NDArray[Any]],
        geometries: Sequence[Geometry],
        classes: Sequence[str],
        params: Mapping[str, Any],
    ) -> list[Detections]:
        asked = _Asked(
            int(number(params, "top", TOP, low=1, high=100_000)),
            int(number(params, "candidates", CANDIDATES, low=1, high=1_000_000)),
            number(params, "overlap", OVERLAP, low=0.0, high=1.0),
            number(params, "threshold", THRESHOLD, low=0.0, high=1.0),
            switch(params, "clip", True),
        )
        logits_BNC, box_BN4 = rows(outputs, len(classes))
        return [
            _picture(logits_NC, box_N4, geometry, asked)
            for logits_NC, box_N4, geometry in zip(logits_BNC, box_BN4, geometries, strict=True)
        ]


@dataclass(frozen=True)
class _Asked:
    top: int
    candidates: int
    overlap: float
    threshold: float
    clip: bool


def _picture(logits_NC: Rows, box_N4: Rows, geometry: Geometry, asked: _Asked) -> Detections:
    cell, class_id, logit = best(logits_NC, asked.candidates)
    whole = placed(box_N4[cell], geometry, clip=False)
    kept = boxes.without_doubles(whole, class_id, asked.overlap, most=asked.top)
    cell, class_id, logit = cell[kept], class_id[kept], logit[kept]
    box_src = placed(box_N4[cell], geometry, clip=asked.clip)
    return Detections(box_src, expit(logit), class_id, query=cell, threshold=asked.threshold)


DECODER = DenseSigmoid()
