"""Between a query and the predictor's batches: a picture as its tiles, and what is said of them as one answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espalier.errors import ModelError, Problem
from espalier.tasks.base import ImageQuery, Task, Tiled
from espalier.vision.prepare import Placed
from espalier.vision.tiling import Tile, Tiling, Window


@dataclass(frozen=True)
class TileQuery:
    """A tile of the picture of `whole`, and what is asked of it."""

    whole: ImageQuery
    asked: ImageQuery
    tile: Tile


@dataclass(frozen=True)
class Tiles:
    """How pictures are cut, and the task that joins what is said of their tiles."""

    tiling: Tiling
    task: Tiled

    @staticmethod
    def of(value: Any, task: Task, where: str = "") -> Tiles | None:
        """The tiles that a bundle or checkpoint records; None where it records none.

        Raises ModelError for a version that is not known here, and for a task that can't join tiles.
        """
        if value is None:
            return None
        if not isinstance(task, Tiled):
            what = f"has tiles, which what is said by models for {task.name} can't be joined of"
            raise ModelError(Problem(where, what, fix="update Espalier"))
        return Tiles(Tiling.from_json(value), task)

    def cut(self, query: ImageQuery) -> Iterator[TileQuery]:
        """The queries of its tiles, one by one; no pixel is copied."""
        return (TileQuery(query, asked, tile) for tile, asked in self.tiling.cut(query))


class Joiner:
    """Answers tile after tile in, answers of whole queries out; of queries that were not cut, the very answers."""

    def __init__(self, tiles: Tiles | None, params: Mapping[str, Any]) -> None:
        self._tiles, self._params = tiles, params
        self._said: list[Any] = []
        self._windows: list[Window] = []

    def add(self, items: Sequence[Any], predictions: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        """(query, prediction) of each query that these complete. `items` are a batch's `queries`, in their order."""
        for item, prediction in zip(items, predictions, strict=True):
            tile = item.tile if isinstance(item, (TileQuery, Placed)) else None
            whole = item.whole if isinstance(item, TileQuery) else item
            if tile is None or self._tiles is None:
                yield whole, prediction
                continue
            self._said.append(prediction)
            self._windows.append(tile.window)
            if tile.is_last:
                yield whole, self._tiles.task.joined(self._said, self._windows, tile.size_hw, self._params)
                self._said, self._windows = [], []
