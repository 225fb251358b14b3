"""Frost on a window, drawn: feathers of ice that grow from seeds.

The published code lays photographs over the picture whose origin and licence nobody states. These panes are drawn, and
then brought to the mean and deviation of those photographs, five for five, so that they hide as much.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.vision.corruptions.filters import enlarged, gaussian
from espalier.vision.corruptions.values import grey

PANES = (  # mean of the bands and deviation, of 255
    ((78.0, 149.0, 166.0), 19.0),
    ((201.0, 205.0, 214.0), 22.0),
    ((201.0, 205.0, 214.0), 22.0),
    ((138.0, 153.0, 165.0), 29.0),
    ((112.0, 123.0, 135.0), 43.0),
)
PANE_PX = 640
FEATHERS = 150


def pane(size_hw: tuple[int, int], bands: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(H, W, bands) a part of one of the panes, 0-1, enlarged to cover the picture; bands that are not RGB see grey."""
    whole = drawn(int(rng.integers(len(PANES))))
    scale = max(1.0, 1.1 * max(size_hw) / PANE_PX)
    cut_hw = [max(1, math.ceil(side / scale)) for side in size_hw]
    top, left = (int(rng.integers(0, PANE_PX - side + 1)) for side in cut_hw)
    part = whole[top : top + cut_hw[0], left : left + cut_hw[1]]
    part = part if (part.shape[0], part.shape[1]) == size_hw else enlarged(part, size_hw)
    return part if bands == 3 else grey(part)


@lru_cache(len(PANES))
def drawn(number: int) -> NDArray[np.float32]:
    """(PANE_PX, PANE_PX, 3) pane `number`, 0-1."""
    rng = np.random.default_rng([20190328, number])
    mean, deviation = PANES[number]
    relief = _relief(rng)
    relief = (relief - relief.mean()) / relief.std()
    values = np.array(mean, np.float32) + np.float32(deviation) * relief
    return np.asarray(np.clip(values / 255, 0, 1), np.float32)


def _relief(rng: np.random.Generator) -> NDArray[np.float32]:
    """(PANE_PX, PANE_PX, 1) light of the ice: feathers over a mist that is thicker in places."""
    canvas = np.zeros((PANE_PX, PANE_PX), np.float32)
    for _ in range(FEATHERS):
        start = rng.uniform(0, PANE_PX, 2)
        _feather(canvas, start, rng.uniform(0, 2 * math.pi), rng.uniform(40, 150), rng)
    grains = rng.standard_normal((PANE_PX, PANE_PX, 1), dtype=np.float32)
    mist = sum(sigma * gaussian(grains, sigma, border="reflect") for sigma in (3.0, 12.0, 40.0))
    return np.asarray(gaussian(canvas[:, :, None], 0.6, border="reflect") + 0.35 * mist + 0.06 * grains, np.float32)


def _feather(
    canvas: NDArray[np.float32], start_xy: NDArray[np.float64], angle: float, length_px: float, rng: np.random.Generator
) -> None:
    """A shaft that bends a little, with barbs on both sides that shorten towards its tip."""
    import cv2

    count = max(4, int(length_px / 3.5))
    share_N = np.linspace(0, 1, count)
    turn_N = angle + rng.uniform(-0.5, 0.5) * share_N
    step_N2 = np.stack([np.cos(turn_N), np.sin(turn_N)], axis=1) * (length_px / count)
    shaft_N2 = start_xy + np.cumsum(step_N2, axis=0)
    lit = float(rng.uniform(0.5, 1.6))
    _line(cv2, canvas, shaft_N2, lit * 1.3)
    for side in (-1, 1):
        barb_N = turn_N + side * (math.pi / 3 + rng.normal(0, 0.06, count))
        reach_N = 0.3 * length_px * (1 - share_N) ** 0.8 * rng.uniform(0.6, 1.0, count)
        tip_N2 = shaft_N2 + np.stack([np.cos(barb_N), np.sin(barb_N)], axis=1) * reach_N[:, None]
        for root, tip in zip(shaft_N2, tip_N2, strict=True):
            _line(cv2, canvas, np.stack([root, tip]), lit * float(rng.uniform(0.4, 1.1)))


def _line(cv2: Any, canvas: NDArray[np.float32], points_N2: NDArray[np.float64], lit: float) -> None:
    places = np.round(points_N2 * 16).astype(np.int32)[:, None]
    cv2.polylines(canvas, [places], False, lit, 1, cv2.LINE_8, 4)
