"""Batches that fit: what does not is halved and accumulated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from espalier.errors import MemoryExhaustedError, Problem
from espalier.layers.model import Batch
from espalier.trainer.devices import is_out_of_memory


def take(batch: Batch, rows: list[int]) -> Batch:
    """The items `rows` of the batch, in that order."""

    def pick(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: _rows(value, rows) for name, value in values.items()}

    names = [batch.names[i] for i in rows] if batch.names else ()
    return Batch(pick(batch.inputs), pick(batch.targets), names, batch.extra)


def split(batch: Batch, parts: int) -> Iterator[tuple[Batch, float]]:
    """The batch in `parts` (or as many as it has items) nearly equal parts, each with its share of the items."""
    if parts == 1:
        yield batch, 1.0
        return
    for rows in torch.arange(batch.size).tensor_split(min(parts, batch.size)):
        yield take(batch, rows.tolist()), len(rows) / batch.size


def halve_until_fits(attempt: Callable[[int], None], parts: int, batch_size: int) -> int:
    """The number of parts with which `attempt(parts)` fits into memory: `parts`, or doubled as often as needed.

    Raises MemoryExhaustedError when a part of one item does not fit.
    """
    while True:
        if fits(attempt, parts):
            return parts
        parts = doubled(parts, batch_size)


def doubled(parts: int, batch_size: int) -> int:
    """Twice as many parts. Raises MemoryExhaustedError when a part is one item already."""
    if parts >= batch_size:
        raise MemoryExhaustedError(
            Problem(
                "train.batch_size",
                "not even a batch of one fits into memory",
                fix="try a smaller network.input.size_hw, a smaller network or train.precision=bf16",
            )
        )
    return min(2 * parts, batch_size)


def fits(attempt: Callable[[int], None], size: int) -> bool:
    """Does `attempt(size)` end without running out of memory? Other errors pass through."""
    try:
        attempt(size)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def _rows(value: Any, rows: list[int]) -> Any:
    if isinstance(value, Tensor):
        return value[torch.tensor(rows, device=value.device)]
    return [value[i] for i in rows] if isinstance(value, list) else value
