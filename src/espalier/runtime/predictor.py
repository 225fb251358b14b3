"""prepare → backend → decode: the one path that evaluate, predict, the server and the edge all take."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

from espalier.runtime.backend import Backend
from espalier.runtime.tiles import Joiner, TileQuery, Tiles
from espalier.tasks.base import Decoder
from espalier.vision.batch import stacked, suits
from espalier.vision.geometry import Geometry
from espalier.vision.prepare import Placed, Prepare, Prepared
from espalier.vision.tiling import Tiling

T = TypeVar("T")


@dataclass(frozen=True)
class PreparedBatch:
    """Queries whose prepared arrays have the same shapes, or may be padded to, stacked."""

    queries: Sequence[Any]
    inputs: Mapping[str, NDArray[Any]]
    geometries: Sequence[Geometry]


class Predictor:
    """Queries in, predictions out. While the backend runs, a thread reads and prepares the next batch."""

    def __init__(
        self,
        prepare: Prepare,
        backend: Backend,
        decode: Decoder,
        classes: Sequence[str],
        params: Mapping[str, Any],
        *,
        batch_size: int = 8,
        tiles: Tiles | None = None,
    ) -> None:
        self.prepare = prepare
        self.backend = backend
        self.decode = decode
        self.classes = tuple(classes)
        self.params = dict(params)
        self.batch_size = batch_size
        self.tiles = tiles

    def __call__(self, queries: Iterable[Any]) -> list[Any]:
        """The prediction of each query, in order."""
        return list(self.stream(queries))

    def stream(self, queries: Iterable[Any]) -> Iterator[Any]:
        """The predictions as they come, in order. What iterating over `queries` raises is raised here."""
        return (prediction for _, prediction in self.pairs(queries))

    def pairs(self, queries: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Each query with its prediction, in order."""
        joiner = self.joiner()
        for batch in self.batches(queries):
            yield from joiner.add(batch.queries, self.decoded(batch, self.backend.run(batch.inputs)))

    def stream_placed(self, placed: Iterable[Placed]) -> Iterator[Any]:
        """The predictions of queries that were placed already, wherever that was and whatever was done to them then.

        The tiles of a query come one after the other.
        """
        joiner = self.joiner()
        for batch in ahead(prepared_batches(self.prepare.finished, placed, self.batch_size)):
            answers = joiner.add(batch.queries, self.decoded(batch, self.backend.run(batch.inputs)))
            yield from (prediction for _, prediction in answers)

    def raw(self, queries: Iterable[Any]) -> Iterator[tuple[PreparedBatch, dict[str, NDArray[Any]]]]:
        """Each batch with its raw outputs, for parity and for whoever decodes otherwise."""
        for batch in self.batches(queries):
            yield batch, self.backend.run(batch.inputs)

    def decoded(self, batch: PreparedBatch, outputs: Mapping[str, NDArray[Any]]) -> list[Any]:
        """The predictions of a batch by its raw outputs: of tiles each its own, which a `joiner` makes whole."""
        return self.decode(outputs, batch.geometries, self.classes, self.params)

    def joiner(self) -> Joiner:
        """What makes the predictions of batches those of the queries. It remembers: one for each pass."""
        return Joiner(self.tiles, self.params)

    def batches(self, queries: Iterable[Any]) -> Iterator[PreparedBatch]:
        """The prepared batches, made one ahead of whoever takes them; large pictures come as their TileQuery."""
        if self.tiles is None:
            return ahead(prepared_batches(self.prepare, queries, self.batch_size))
        cut = self.tiles.cut
        parts = (part for query in queries for part in cut(query))
        return ahead(prepared_batches(self._prepared_tile, parts, self.batch_size))

    def _prepared_tile(self, part: TileQuery) -> Prepared:
        return self.prepare(part.asked)

    def placed(self, query: Any) -> Iterator[Placed]:
        """The query in the network's input, or its tiles one by one, for `stream_placed`."""
        return self.prepare.placed_parts(query, self.tiling)

    @property
    def tiling(self) -> Tiling | None:
        """How pictures are cut; None where they are asked whole."""
        return None if self.tiles is None else self.tiles.tiling


def prepared_batches(
    prepare: Callable[[Any], Prepared], queries: Iterable[Any], batch_size: int
) -> Iterator[PreparedBatch]:
    """Batches of at most `batch_size`. Pictures of different sizes are padded where the network is told of it;
    elsewhere a batch ends early at another size."""
    rest = iter(queries)
    while chunk := list(islice(rest, batch_size)):
        prepared = [prepare(query) for query in chunk]
        for start, end in _runs([suits(p) for p in prepared]):
            yield PreparedBatch(chunk[start:end], *stacked(prepared[start:end]))


def _runs(values: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """(start, end) of each stretch of equal values."""
    start = 0
    for i in range(1, len(values) + 1):
        if i == len(values) or values[i] != values[start]:
            yield start, i
            start = i


@dataclass(frozen=True)
class _Result(Generic[T]):
    """What the thread hands over: an item, an error, or the end (neither)."""

    item: T | None = None
    error: BaseException | None = None
    end: bool = False


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The items, the next one made by a thread while the current one is in use. The thread ends when this does."""
    results: queue.Queue[_Result[T]] = queue.Queue(maxsize=1)
    stopped = threading.Event()
    thread = threading.Thread(target=_fill, args=(items, results, stopped), name="espalier-prepare", daemon=True)
    thread.start()
    try:
        while not (result := results.get()).end:
            if result.error is not None:
                raise result.error
            yield result.item  # type: ignore[misc]  # neither an error nor the end: an item
    finally:
        stopped.set()
        thread.join()


def _fill(items: Iterator[T], results: queue.Queue[_Result[T]], stopped: threading.Event) -> None:
    try:
        for item in items:
            if not _put(results, _Result(item), stopped):
                return
        _put(results, _Result(end=True), stopped)
    except BaseException as error:  # noqa: BLE001  (not swallowed: raised again where the items are taken)
        _put(results, _Result(error=error), stopped)


def _put(results: queue.Queue[_Result[T]], result: _Result[T], stopped: threading.Event) -> bool:
    """Hands over as soon as there is room; False when nobody wants it any more."""
    while not stopped.is_set():
        try:
            results.put(result, timeout=0.05)
        except queue.Full:
            continue
        return True
    return False
