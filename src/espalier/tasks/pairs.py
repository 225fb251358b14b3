"""Which pictures two models were both scored on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier.errors import DataError, Problem
from espalier.tasks.base import Scores


@dataclass(frozen=True)
class Pairs:
    """Which rows of A and B are the same picture: `picture_a[i]` is the number of row i's picture, -1 for none."""

    names: tuple[str, ...]
    picture_a: NDArray[np.int64]
    picture_b: NDArray[np.int64]
    groups: tuple[str, ...]  # of each picture; its own name without one


def pair(a: Scores, b: Scores) -> Pairs:
    """The pictures both have, by name. Raises DataError when there are none."""
    in_b = set(b.names)
    number: dict[str, int] = {}
    group: dict[str, str] = {}
    for name, its_group in zip(a.names, a.per_item["group"], strict=True):
        if name in in_b:
            number.setdefault(name, len(number))
            group[name] = str(its_group) or f"picture {name}"
    if not number:
        raise DataError(
            Problem("", "the models were not scored on the same pictures", fix="score both on the same data")
        )
    rows_a, rows_b = (np.asarray([number.get(name, -1) for name in s.names], np.int64) for s in (a, b))
    return Pairs(tuple(number), rows_a, rows_b, tuple(group[name] for name in number))
