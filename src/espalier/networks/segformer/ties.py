"""How two runs of a segmenter are compared: where two classes are nearly equal, either may win. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
TIE = 1e-3
"""Of the largest logit: the tolerance of the logits themselves."""


def match_outputs(expected: Arrays, found: Arrays) -> Arrays:
    """`found`, with the expected class at pixels where the expected logits of both classes are nearly equal."""
    wanted_BHW, given_BHW = expected["class"], found["class"]
    if wanted_BHW.shape != given_BHW.shape:
        return found
    places = np.nonzero(wanted_BHW != given_BHW)
    logits_BChw, size_hw = expected["logits"].astype(np.float64), wanted_BHW.shape[1:]
    ids = (wanted_BHW[places].astype(np.int64), given_BHW[places].astype(np.int64))
    known = ids[1] < logits_BChw.shape[1]
    best, other = (_raised(logits_BChw, places, np.where(known, each, 0), size_hw) for each in ids)
    tie = known & (np.abs(best - other) <= TIE * max(TIE, float(np.abs(logits_BChw).max(initial=0.0))))
    settled_BHW = given_BHW.copy()
    settled_BHW[tuple(axis[tie] for axis in places)] = ids[0][tie].astype(given_BHW.dtype)
    return {**found, "class": settled_BHW}


def _raised(
    logits_BChw: NDArray[np.float64],
    places: tuple[NDArray[np.int64], ...],
    class_N: NDArray[np.int64],
    size_hw: tuple[int, ...],
) -> NDArray[np.float64]:
    """(N,) the bilinear value of a class's logits at pixels (picture, row, column) of the larger map."""
    picture_N, *pixels = places
    (low_y, high_y, part_y), (low_x, high_x, part_x) = (
        _between(pixel_N, large, small)
        for pixel_N, large, small in zip(pixels, size_hw, logits_BChw.shape[2:], strict=True)
    )

    def at(y_N: NDArray[np.int64], x_N: NDArray[np.int64]) -> NDArray[np.float64]:
        values: NDArray[np.float64] = logits_BChw[picture_N, class_N, y_N, x_N]
        return values

    above = at(low_y, low_x) * (1 - part_x) + at(low_y, high_x) * part_x
    below = at(high_y, low_x) * (1 - part_x) + at(high_y, high_x) * part_x
    value_N: NDArray[np.float64] = above * (1 - part_y) + below * part_y
    return value_N


def _between(
    pixel_N: NDArray[np.int64], large: int, small: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The two cells of the small map around a pixel of the large one, and how far it is from the first."""
    place_N = np.clip((pixel_N + 0.5) * small / large - 0.5, 0, small - 1)
    low_N = np.floor(place_N).astype(np.int64)
    return low_N, np.minimum(low_N + 1, small - 1), place_N - low_N
