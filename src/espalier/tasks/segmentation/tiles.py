"""What was said of overlapping tiles as the class map of the whole picture: each pixel by the tile it lies deepest in.

A network sees what lies around a pixel, and near a tile's edge half of that is missing. So of the tiles that show a
pixel the one with the nearest middle says its class. Tiles of one picture are of one size, so that along each axis the
border between two neighbours is midway between their middles.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.segmentation.prediction import SegmentMap
from espalier.vision.tiling import Window


def joined(predictions: Sequence[SegmentMap], windows: Sequence[Window], size_hw: tuple[int, int]) -> SegmentMap:
    """The map of a picture of `size_hw`. Of one tile it is that tile's very prediction."""
    if len(predictions) == 1:
        return predictions[0]
    class_HW = np.zeros(size_hw, predictions[0].dtype)
    rows = _shares([(window.top, window.height) for window in windows], size_hw[0])
    columns = _shares([(window.left, window.width) for window in windows], size_hw[1])
    for prediction, window in zip(predictions, windows, strict=True):
        (top, bottom), (left, right) = rows[window.top], columns[window.left]
        part = prediction.class_HW[top - window.top : bottom - window.top, left - window.left : right - window.left]
        class_HW[top:bottom, left:right] = part
    return SegmentMap.of(class_HW, sure_C=_sure(predictions))


def _shares(stretches: Sequence[tuple[int, int]], side: int) -> dict[int, tuple[int, int]]:
    """start → (first, end) of what a tile that starts there says along an axis."""
    length = stretches[0][1]
    starts = sorted({start for start, _ in stretches})
    borders = [0, *((a + b + length + 1) // 2 for a, b in pairwise(starts)), side]
    return dict(zip(starts, pairwise(borders), strict=True))


def _sure(predictions: Sequence[SegmentMap]) -> NDArray[np.float32] | None:
    """(C,) the mean over tiles, each with as many votes as it has pixels of the class."""
    given = [(each.sure_C, each.pixels) for each in predictions if each.sure_C is not None]
    if len(given) < len(predictions):
        return None
    classes = len(given[0][0])
    votes_TC = np.stack([np.pad(pixels, (0, classes - len(pixels))) for _, pixels in given]).astype(np.float64)
    sure_TC = np.stack([sure_C for sure_C, _ in given]).astype(np.float64)
    votes_TC[np.isnan(sure_TC)] = 0
    total_C = votes_TC.sum(axis=0)
    sum_C = (np.nan_to_num(sure_TC) * votes_TC).sum(axis=0)
    mean_C = np.divide(sum_C, total_C, out=np.full(classes, np.nan), where=total_C > 0)
    return np.asarray(mean_C, np.float32)
