"""Limited-memory BFGS for smooth convex functions, in plain numpy.

scipy's own calls BLAS on tiny matrices thousands of times; on a busy machine the BLAS library's threads then spend far
more time waiting for each other than computing. Here every product is small enough for one thread.
Nocedal and Wright, "Numerical Optimization", 2006: algorithms 7.4 and 7.5, with step lengths as in algorithm 3.5 (by
doubling and halving in place of interpolation), which meet Wolfe's conditions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Objective = Callable[[Array], tuple[float, Array]]
"""A point → the value and its gradient."""

ENOUGH_DECREASE, ENOUGH_CURVATURE = 1e-4, 0.9
MOST_TRIALS = 40  # of step lengths in one direction


def minimise(
    objective: Objective, start: Array, *, steps: int, gradient: float, decrease: float, memory: int = 12
) -> Array:
    """The point where no part of the gradient is larger than `gradient`, where a step lowers the value by less than
    `decrease` of it, or that is reached after `steps`."""
    point, (value, slope) = start, objective(start)
    pairs: deque[tuple[Array, Array]] = deque(maxlen=memory)
    for _ in range(steps):
        if np.abs(slope).max(initial=0.0) <= gradient:
            break
        found = _step(objective, point, value, slope, _direction(slope, pairs))
        if found is None:
            break
        moved, lower, its_slope = found
        if (moved - point) @ (its_slope - slope) > 0:
            pairs.append((moved - point, its_slope - slope))
        gained = value - lower
        point, value, slope = moved, lower, its_slope
        if gained <= decrease * max(abs(value), 1.0):
            break
    return point


def _direction(slope: Array, pairs: deque[tuple[Array, Array]]) -> Array:
    """Down by the inverse Hessian that the last steps suggest (algorithm 7.4)."""
    if not pairs:
        return -slope / max(float(np.abs(slope).sum()), 1.0)
    down, shares = slope.copy(), []
    for move, change in reversed(pairs):
        share = (move @ down) / (move @ change)
        shares.append(share)
        down -= share * change
    move, change = pairs[-1]
    down *= (move @ change) / (change @ change)
    for (move, change), share in zip(pairs, reversed(shares)):
        down += move * (share - (change @ down) / (move @ change))
    return -down


def _step(
    objective: Objective, point: Array, value: float, slope: Array, direction: Array
) -> tuple[Array, float, Array] | None:
    """A point along the direction that meets Wolfe's conditions, its value and gradient; None when none is lower."""
    falls = float(slope @ direction)
    short, long, length = 0.0, np.inf, 1.0
    lowest: tuple[Array, float, Array] | None = None
    for _ in range(MOST_TRIALS):
        trial = point + length * direction
        its_value, its_slope = objective(trial)
        if not its_value <= value + ENOUGH_DECREASE * length * falls:
            long = length
        else:
            lowest = (trial, its_value, its_slope)
            if its_slope @ direction >= ENOUGH_CURVATURE * falls:
                return lowest
            short = length
        length = 2 * short if np.isinf(long) else (short + long) / 2
    return lowest if lowest is not None and lowest[1] < value else None
