"""The picture under its classes' colours, and where the truth is known with what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
_PIXELS_AT_ONCE = 1 << 22


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
    truth_HW = None if truth is None else _larger(truth.class_map(prediction.size_hw), times)
    inks = _Inks.of(classes, drawing.line_px((said_HW.shape[1], said_HW.shape[0])))
    drawn, wrong = np.empty(image.shape, np.uint8), 0
    step = max(1, _PIXELS_AT_ONCE // said_HW.shape[1])
    for top in range(0, len(said_HW), step):
        rows = slice(top, min(top + step, len(said_HW)))
        drawn[rows], count = _tinted(image, said_HW, truth_HW, rows, inks)
        wrong += count
    drawing.write_list(drawn, _legend(prediction, classes, wrong / said_HW.size))
    return drawn


@dataclass(frozen=True)
class _Inks:
    """What each class is drawn with."""

    colour_C3: NDArray[np.float32]
    stripe_C3: NDArray[np.float32]
    plain_C: NDArray[np.bool_]
    stripe_px: int

    @staticmethod
    def of(classes: Sequence[str], stripe_px: int) -> _Inks:
        """By the classes' numbers; of the background the stripes are white."""
        colour_C3 = np.array([drawing.colour_of(c) for c in range(len(classes))], np.float32)
        plain_C = np.array([name == BACKGROUND for name in classes])
        stripe_C3 = np.where(plain_C[:, None], np.array(WRONG, np.float32), colour_C3)
        return _Inks(colour_C3, stripe_C3, plain_C, stripe_px)


def _tinted(
    image: NDArray[np.uint8], said_HW: ClassMap, truth_HW: ClassMap | None, rows: slice, inks: _Inks
) -> tuple[NDArray[np.uint8], int]:
    """(these rows of the picture with its classes, how many of their pixels are wrong)."""
    drawn, said_RW = image[rows].astype(np.float32), said_HW[rows]
    tinted_RW = ~inks.plain_C[said_RW]
    wrong_RW = np.zeros(said_RW.shape, np.bool_)
    if truth_HW is not None:
        known_RW = truth_HW[rows] != ignored(truth_HW.dtype)
        tinted_RW &= known_RW
        wrong_RW = (truth_HW[rows] != said_RW) & known_RW
    drawn[tinted_RW] = drawn[tinted_RW] * (1 - TINT) + inks.colour_C3[said_RW[tinted_RW]] * TINT
    edge_RW = _edges(said_HW, rows) & tinted_RW
    drawn[edge_RW] = drawn[edge_RW] * (1 - EDGE) + inks.colour_C3[said_RW[edge_RW]] * EDGE
    if truth_HW is not None and wrong_RW.any():
        striped_RW = wrong_RW & _stripes(rows, said_RW.shape[1], inks.stripe_px)
        ink = inks.stripe_C3[truth_HW[rows][striped_RW]]
        drawn[striped_RW] = drawn[striped_RW] * (1 - STRIPE) + ink * STRIPE
    return np.rint(drawn).astype(np.uint8), int(wrong_RW.sum())


def _larger(class_HW: ClassMap, times: int) -> ClassMap:
    return class_HW if times == 1 else np.repeat(np.repeat(class_HW, times, axis=0), times, axis=1)


def _edges(class_HW: ClassMap, rows: slice) -> NDArray[np.bool_]:
    """Pixels of these rows beside one of another class."""
    first = max(0, rows.start - 1)
    seen_HW = class_HW[first : rows.stop + 1]
    edge_HW = np.zeros(seen_HW.shape, np.bool_)
    down, across = seen_HW[1:] != seen_HW[:-1], seen_HW[:, 1:] != seen_HW[:, :-1]
    edge_HW[1:] |= down
    edge_HW[:-1] |= down
    edge_HW[:, 1:] |= across
    edge_HW[:, :-1] |= across
    return edge_HW[rows.start - first :][: rows.stop - rows.start]


def _stripes(rows: slice, width: int, stripe_px: int) -> NDArray[np.bool_]:
    """Diagonal stripes of a picture in these rows, as wide as the gaps between them."""
    row_R, column_W = np.arange(rows.start, rows.stop)[:, None], np.arange(width)[None]
    return np.asarray((row_R + column_W) // (2 * stripe_px) % 2 == 0)


def _legend(prediction: SegmentMap, classes: Sequence[str], wrong: float) -> list[tuple[str, Colour]]:
    found = [(c, share) for c, share in shares(prediction) if classes[c] != BACKGROUND][:LISTED]
    lines = [(f"{classes[c]}  {100 * share:.3g} %", drawing.colour_of(c)) for c, share in found]
    return [*lines, (f"wrong  {100 * wrong:.2g} %", WRONG)] if wrong else lines
