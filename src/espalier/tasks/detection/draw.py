"""The picture with its boxes, and where the truth is known with what they miss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.detection.matching import FREE, OVERLAPS
from espalier.tasks.detection.prediction import Detections
from espalier.tasks.detection.sample import DetectionTarget
from espalier.vision import boxes
from espalier.vision import draw as drawing

LEGIBLE_PX, LARGEST_PX = 320, 1600  # a smaller picture is enlarged by a whole number before it is written on
LABELLED = 40  # more boxes than this hide the picture behind their texts: then a list names the colours
LISTED = 12  # classes
MISSED: drawing.Colour = (255, 255, 255)
GAP = "  "


def draw(
    image_HWC: NDArray[Any], prediction: Detections, classes: Sequence[str], *, truth: DetectionTarget | None = None
) -> NDArray[np.uint8]:
    """The picture, RGB uint8, with the boxes that are said; small pictures come enlarged.

    With `truth` the objects that none of them finds are dashed, in white.
    """
    said = prediction.said[::-1]  # the surest are drawn last, on top
    missed = None if truth is None else missed_of(said, truth, boxes.iou(said.box_xyxy, truth.box_xyxy))
    image, times = enlarged(drawing.to_rgb8(image_HWC))
    lost = 0 if missed is None else len(missed)
    crowded = len(said) + lost > LABELLED
    texts = [] if crowded else [said.label(row, classes) for row in range(len(said))]
    boxes_N4 = said.box_xyxy
    if missed is not None and truth is not None:
        texts = [*(["missed: " + classes[truth.class_id[row]] for row in missed] if not crowded else []), *texts]
        boxes_N4 = np.concatenate([truth.box_xyxy[missed], boxes_N4])
    drawn = drawing.draw_boxes(
        image,
        boxes_N4 * times,
        texts=texts,
        colours=[MISSED] * lost + [drawing.colour_of(int(c)) for c in (said.class_id if crowded else said.coloured_by)],
        dashed=[True] * lost,
    )
    return listed(drawn, said, classes, lost) if crowded else drawn


def enlarged(image_HW3: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
    """The picture large enough to write on, and by which whole number it grew."""
    shorter, longer = sorted(image_HW3.shape[:2])
    times = max(1, min(-(-LEGIBLE_PX // shorter), LARGEST_PX // longer))
    if times == 1:
        return image_HW3, 1
    return np.repeat(np.repeat(image_HW3, times, axis=0), times, axis=1), times


def missed_of(said: Detections, truth: DetectionTarget, iou_NM: NDArray[np.float64]) -> NDArray[np.int64]:
    """Objects that nothing said of their class overlaps by 0.5, each taking the one that it overlaps most; what is said
    comes with the surest last."""
    free = ~truth.is_crowd
    iou_NM = np.where(said.class_id[:, None] == truth.class_id[None], iou_NM, 0)
    for row in range(len(said) - 1, FREE, -1):
        best = int(np.argmax(np.where(free, iou_NM[row], 0))) if len(truth) else FREE
        if best != FREE and free[best] and iou_NM[row, best] >= OVERLAPS[0]:
            free[best] = False
    return np.flatnonzero(free)


def listed(drawn: NDArray[np.uint8], said: Detections, classes: Sequence[str], lost: int) -> NDArray[np.uint8]:
    """With the classes' names and counts in their colours, from the top left downwards."""
    counts = np.bincount(said.class_id, minlength=len(classes))
    lines = [
        (f"{classes[c]}{GAP}{counts[c]}", drawing.colour_of(int(c)))
        for c in np.argsort(-counts, kind="stable")[:LISTED]
        if counts[c]
    ]
    lines += [(f"missed{GAP}{lost}", MISSED)] if lost else []
    return drawing.draw_list(drawn, lines)
