"""The picture with its masks, and where the truth is known with what they miss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.detection.draw import LABELLED, MISSED, enlarged, listed, missed_of
from espalier.tasks.instance.overlap import object_overlaps, object_rles
from espalier.tasks.instance.prediction import Instances
from espalier.tasks.instance.sample import InstanceTarget
from espalier.vision import draw as drawing
from espalier.vision import rle
from espalier.vision.draw_masks import Part, draw_masks


def draw(
    image_HWC: NDArray[Any], prediction: Instances, classes: Sequence[str], *, truth: InstanceTarget | None = None
) -> NDArray[np.uint8]:
    """The picture, RGB uint8, with the masks that are said, tinted; small pictures come enlarged.

    With `truth` the objects that none of them finds are outlined, dashed in white.
    """
    said = prediction.said[::-1]  # the surest are drawn last, on top
    size_hw = (int(image_HWC.shape[0]), int(image_HWC.shape[1]))
    parts, box_N4, texts = _missed(said, truth, classes, size_hw)
    lost = len(parts)
    image, times = enlarged(drawing.to_rgb8(image_HWC))
    parts += [Part(*said.cut_out(row)) for row in range(len(said))]
    crowded = len(parts) > LABELLED
    numbers = said.class_id if crowded else said.coloured_by
    colours = [MISSED] * lost + [drawing.colour_of(int(n)) for n in numbers]
    drawn = draw_masks(image, [part.enlarged(times) for part in parts], colours, dashed=[True] * lost)
    if crowded:
        return listed(drawn, said, classes, lost)
    texts += [said.label(row, classes) for row in range(len(said))]
    return drawing.draw_texts(drawn, np.concatenate([box_N4, said.box_xyxy]) * times, texts, colours=colours)


def _missed(
    said: Instances, truth: InstanceTarget | None, classes: Sequence[str], size_hw: tuple[int, int]
) -> tuple[list[Part], NDArray[Any], list[str]]:
    """(mask, box, text) of the objects that are missed."""
    if truth is None:
        return [], np.zeros((0, 4)), []
    rows, masks = missed_of(said, truth, object_overlaps(said, truth, size_hw)), object_rles(truth, size_hw)
    texts = ["missed: " + classes[truth.class_id[row]] for row in rows]
    return [Part(*rle.cut_out(masks[row])) for row in rows], truth.box_xyxy[rows], texts
