"""How far a map can be trusted: what the model says while the pixels it marks are taken away, or brought back.

The deletion and insertion scores of Petsiuk et al. 2018. Deletion replaces pixels by the picture's mean colour, the
most marked first: a good map's score falls fast, so less is better. Insertion begins with the blurred picture and
brings pixels back, the most marked first: more is better. Each score is the area below the curve, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.explainer.view import View
from espalier.tasks.base import ExplainTarget


@dataclass(frozen=True)
class Faith:
    """The target's score after each equal share of the pixels: (steps + 1,) from none of them to all."""

    deletion_S: NDArray[np.float64]
    insertion_S: NDArray[np.float64]

    @property
    def deletion(self) -> float:
        """Area below the deletion curve; less is better."""
        return area(self.deletion_S)

    @property
    def insertion(self) -> float:
        """Area below the insertion curve; more is better."""
        return area(self.insertion_S)

    @property
    def both(self) -> float:
        """Insertion minus deletion, more is better. How much is good depends on the picture: compare random maps."""
        return self.insertion - self.deletion


def area(curve_S: NDArray[np.float64]) -> float:
    """Mean height by the trapezoidal rule."""
    return float((curve_S[:-1] + curve_S[1:]).mean() / 2)


def faith(view: View, target: ExplainTarget, maps: Sequence[NDArray[Any]], *, steps: int, seed: int) -> list[Faith]:
    """How far each map (H, W, of the view's picture) can be trusted; all pictures in full batches."""
    ranks = [ranks_of(map_HW, seed=seed) for map_HW in maps]
    scores = [row_B for score_TB in view.scores(_changed(view, ranks, steps), [target]) for row_B in score_TB]
    curve_M2S = np.concatenate([np.zeros(0), *scores]).reshape(len(maps), 2, steps + 1)
    return [Faith(deletion_S, insertion_S) for deletion_S, insertion_S in curve_M2S]


def _changed(view: View, ranks: Sequence[NDArray[np.int64]], steps: int) -> Iterator[NDArray[Any]]:
    grey, blurred_HWC = view.grey(), view.blurred()
    for rank_HW in ranks:
        limits = [round(rank_HW.size * step / steps) for step in range(steps + 1)]
        for limit in limits:
            yield view.kept(rank_HW >= limit, grey)
        for limit in limits:
            yield view.kept(rank_HW < limit, blurred_HWC)


def ranks_of(map_HW: NDArray[Any], *, seed: int) -> NDArray[np.int64]:
    """(H, W) the place of each pixel, 0 for the most marked. Equal pixels come in random order, not from the top."""
    flat_P = np.asarray(map_HW, np.float64).ravel()
    shuffled_P = np.random.default_rng(seed).permutation(flat_P.size)
    order_P = shuffled_P[np.argsort(-flat_P[shuffled_P], kind="stable")]
    rank_P = np.empty(flat_P.size, np.int64)
    rank_P[order_P] = np.arange(flat_P.size)
    return rank_P.reshape(map_HW.shape)
