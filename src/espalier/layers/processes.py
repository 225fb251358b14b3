"""What losses ask of the other processes of a training."""

from __future__ import annotations

from torch import Tensor, distributed


def mean_over_processes(value: Tensor) -> Tensor:
    """The mean over all processes: with it as a divisor, several processes together do what one does."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return value
    total = value.clone()
    distributed.all_reduce(total)
    return total / distributed.get_world_size()
