"""What the loop needs of others: something that gives batches, and something that keeps events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol


class LoadedBatch(Protocol):
    """What a loader gives: named inputs (B first), targets, and the items' names."""

    @property
    def inputs(self) -> Mapping[str, Any]: ...
    @property
    def targets(self) -> Mapping[str, Any]: ...
    @property
    def names(self) -> Any: ...


class Loader(Protocol):
    """Batches that depend on (epoch, batch) alone, so that an epoch can be entered anywhere."""

    @property
    def batches_per_epoch(self) -> int: ...

    def worst(self) -> LoadedBatch: ...

    def epoch(self, epoch: int, *, start_batch: int = 0, mix: bool = True) -> Iterator[LoadedBatch]: ...


class Record(Protocol):
    """Where events go, and how many bytes of them there are (`espalier.runs.run.Run`)."""

    def emit(self, kind: str, /, **data: Any) -> None: ...
    def event_offset(self) -> int: ...
    def cut_events(self, offset: int) -> None: ...
