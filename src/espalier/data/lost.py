"""What a writer can't keep, counted: the words are the same for every format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from espalier.data.formats.base import Loss
from espalier.data.index import Index

CROWDS = "crowds (regions of a class that are not single objects), left out so that none becomes an object"
IGNORED = "ignored regions, left out: what lies there now reads as background"


class Lost:
    """Counts by words, in the order in which they were first told."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, what: str, count: int = 1) -> None:
        """So many more."""
        self._counts[what] = self._counts.get(what, 0) + int(count)

    def told(self) -> tuple[Loss, ...]:
        """Those that happened."""
        return tuple(Loss(what, count) for what, count in self._counts.items() if count)


def add_common(lost: Lost, splits: Mapping[str, Index], *, groups: bool = False, ignored: bool = False) -> None:
    """Groups, ignored regions and ids, of formats that don't hold them."""
    for index in splits.values():
        lost.add("groups", 0 if groups or index.group is None else len(index))
        lost.add(IGNORED, 0 if ignored else index.ignored_count())
    first = next(iter(splits.values()))
    plain = np.array_equal(first.class_ids, np.arange(len(first.classes)))
    lost.add("class ids, which become positions or names", 0 if plain else len(first.classes))
    lost.add("annotation ids", sum(map(_own_ids, splits.values())))


def _own_ids(index: Index) -> int:
    """How many annotations have an id of their own: not a mere line, and not a mere count."""
    counted = bool(index.line.any()) or np.array_equal(index.annotation_id, np.arange(len(index.annotation_id)))
    return 0 if counted else len(index.annotation_id)


def unused_classes(splits: Mapping[str, Index]) -> int:
    """Classes that no picture of any split has: lost where only labels name classes."""
    indexes: Sequence[Index] = list(splits.values())
    return int((np.sum([index.counts() for index in indexes], axis=0) == 0).sum())
