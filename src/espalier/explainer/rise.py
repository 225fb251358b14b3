"""The map of a black box: hide random parts of the picture and see what that does to the answer.

Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", 2018. Two things differ,
and neither changes which pixel comes before which in the limit of many masks (docs/decisions/0009-explanations.md):
the map is the mean score where a pixel was kept minus the mean where it was hidden, so that it has a unit; and each
mask comes with its opposite, so that every pixel is kept exactly half of the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from espalier.explainer.frames import resample
from espalier.explainer.view import View
from espalier.tasks.base import ExplainTarget
from espalier.vision.geometry import Geometry


def rise(
    view: View, targets: Sequence[ExplainTarget], *, masks: int, cells: int, seed: int
) -> list[NDArray[np.float32]]:
    """A map (H, W) of the view's picture for each target: by how much its score rises where the pixel is seen.

    `masks` masks (rounded up to pairs) of `cells` × `cells` coarse cells. Deterministic by `seed`.
    """
    pairs = -(-masks // 2)
    grey = view.grey()
    drawn = random_masks(view.size_hw, pairs=pairs, cells=cells, seed=seed)
    again = random_masks(view.size_hw, pairs=pairs, cells=cells, seed=seed)
    sums_TP = np.zeros((len(targets), view.size_hw[0] * view.size_hw[1]), np.float64)
    total_T = np.zeros(len(targets))
    for score_TB in view.scores((view.kept(mask_HW, grey) for mask_HW in drawn), targets):
        mask_BP = np.stack([next(again).ravel() for _ in range(score_TB.shape[1])])
        sums_TP += score_TB.astype(np.float32) @ mask_BP
        total_T += score_TB.sum(axis=1)
    seen_TP, hidden_TP = sums_TP / pairs, (total_T[:, None] - sums_TP) / pairs
    return [np.asarray(row_P, np.float32).reshape(view.size_hw) for row_P in seen_TP - hidden_TP]


def random_masks(size_hw: tuple[int, int], *, pairs: int, cells: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """Masks (H, W) from 0 hidden to 1 kept, each followed by its opposite.

    Half of the cells of a coarse grid, enlarged bilinearly and shifted by up to a cell, as in the paper.
    """
    rng = np.random.default_rng(seed)
    for _ in range(pairs):
        mask_HW = coarse(rng.integers(0, 2, (cells + 1, cells + 1)), size_hw, rng)
        yield mask_HW
        yield 1 - mask_HW


def random_map(size_hw: tuple[int, int], *, cells: int, seed: Sequence[int]) -> NDArray[np.float32]:
    """A map that knows nothing, as smooth as a real one: what a map has to be better than."""
    rng = np.random.default_rng(list(seed))
    return coarse(rng.random((cells + 1, cells + 1)), size_hw, rng)


def coarse(cell_RR: NDArray[np.generic], size_hw: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Cells (n + 1, n + 1) enlarged to where n of them cover the picture, shifted by up to one cell."""
    count = cell_RR.shape[0]
    scale_xy = ((count - 1) / size_hw[1], (count - 1) / size_hw[0])
    shift_x, shift_y = rng.random(2)
    return resample(cell_RR, Geometry(size_hw, (count, count), scale_xy, (shift_x, shift_y), (count, count)))
