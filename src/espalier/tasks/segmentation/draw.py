"""The picture under its classes' colours, and where the truth is known with what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.detection.draw import enlarged
from espalier.tasks.segmentation.prediction import BACKGROUND, SegmentMap, shares
from espalier.tasks.segmentation.sample import SegmentationTarget
from espalier.vision import draw as drawing
from espalier.vision.class_maps import ClassMap, ignored
from espalier.vision.draw import Colour

TINT = 0.45
STRIPE = 0.85
EDGE = 0.9
LISTED = 12  # classes
WRONG: Colour = (255, 255, 255)


def draw(
    image_HWC: NDArray[Any], prediction: SegmentMap, classes: Sequence[str], *, truth: SegmentationTarget | None = None
) -> NDArray[np.uint8]:
    """The picture, RGB uint8, tinted by the class of each pixel, with a list of the classes; the background stays
    plain. Small pictures come enlarged.

    With `truth` the pixels that are wrong are striped in the colour of their true class (white for the background),
    and pixels of which nothing is known are left plain.
    """
    image, times = enlarged(drawing.to_rgb8(image_HWC))
    said_HW = _larger(prediction.class_HW, times)
    colour_C3 = np.array([drawing.colour_of(c) for c in range(len(classes))], np.float32)
    plain_HW = np.array([name == BACKGROUND for name in classes])[said_HW]
    wrong_HW = np.zeros(said_HW.shape, np.bool_)
    if truth is not None:
        truth_HW = _larger(truth.class_map(prediction.size_hw), times)
        unknown_HW = truth_HW == ignored(truth_HW.dtype)
        plain_HW = plain_HW | unknown_HW
        wrong_HW = (truth_HW != said_HW) & ~unknown_HW
    drawn = image.astype(np.float32)
    tinted_HW = ~plain_HW
    drawn[tinted_HW] = drawn[tinted_HW] * (1 - TINT) + colour_C3[said_HW[tinted_HW]] * TINT
    edge_HW = _edges(said_HW) & tinted_HW
    drawn[edge_HW] = drawn[edge_HW] * (1 - EDGE) + colour_C3[said_HW[edge_HW]] * EDGE
    if truth is not None and wrong_HW.any():
        striped_HW = wrong_HW & _stripes(said_HW.shape, drawing.line_px((said_HW.shape[1], said_HW.shape[0])))
        shown_C3 = np.where(np.array([name == BACKGROUND for name in classes])[:, None], WRONG, colour_C3)
        drawn[striped_HW] = drawn[striped_HW] * (1 - STRIPE) + shown_C3[truth_HW[striped_HW]] * STRIPE
    return drawing.draw_list(np.rint(drawn).astype(np.uint8), _legend(prediction, classes, wrong_HW))


def _larger(class_HW: ClassMap, times: int) -> ClassMap:
    return class_HW if times == 1 else np.repeat(np.repeat(class_HW, times, axis=0), times, axis=1)


def _edges(class_HW: ClassMap) -> NDArray[np.bool_]:
    """Pixels beside one of another class."""
    edge_HW = np.zeros(class_HW.shape, np.bool_)
    down, across = class_HW[1:] != class_HW[:-1], class_HW[:, 1:] != class_HW[:, :-1]
    edge_HW[1:] |= down
    edge_HW[:-1] |= down
    edge_HW[:, 1:] |= across
    edge_HW[:, :-1] |= across
    return edge_HW


def _stripes(size_hw: tuple[int, ...], width: int) -> NDArray[np.bool_]:
    """Diagonal stripes, as wide as the gaps between them."""
    row_H, column_W = np.arange(size_hw[0])[:, None], np.arange(size_hw[1])[None]
    return np.asarray((row_H + column_W) // (2 * width) % 2 == 0)


def _legend(prediction: SegmentMap, classes: Sequence[str], wrong_HW: NDArray[np.bool_]) -> list[tuple[str, Colour]]:
    found = [(c, share) for c, share in shares(prediction) if classes[c] != BACKGROUND][:LISTED]
    lines = [(f"{classes[c]}  {100 * share:.3g} %", drawing.colour_of(c)) for c, share in found]
    wrong = float(wrong_HW.mean())
    return [*lines, (f"wrong  {100 * wrong:.2g} %", WRONG)] if wrong else lines
