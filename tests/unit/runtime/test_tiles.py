"""The predictor on tiles: streamed, in order, joined; and the very same as without them on small pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from espalier.errors import ModelError
from espalier.runtime.predictor import Predictor
from espalier.runtime.tiles import TileQuery, Tiles
from espalier.tasks import base
from espalier.tasks.base import ImageQuery
from espalier.vision.prepare import standard_prepare
from espalier.vision.tiling import Tiling

PREPARE = standard_prepare((32, 32), fit="letterbox")


class Mean:
    """The mean of each input; remembers its batches."""

    name, device = "mean", "cpu"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, inputs: Any) -> dict[str, Any]:
        self.batches.append(len(inputs["image"]))
        return {"mean": inputs["image"].mean((1, 2, 3))}


def decode(outputs: Any, geometries: Any, classes: Any, params: Any) -> list[float]:
    return [round(float(m) * 255, 3) for m in outputs["mean"]]


class Lists:
    """Joins by listing what is said, where, and of how large a picture."""

    def inside(self, sample: Any, window: Any) -> Any:
        return sample

    def joined(self, predictions: Sequence[Any], windows: Sequence[Any], size_hw: Any, params: Any) -> Any:
        return list(predictions), [window.left for window in windows], size_hw


def predictor(backend: Mean, batch_size: int = 4) -> Predictor:
    return Predictor(PREPARE, backend, decode, ("x",), {}, batch_size=batch_size, tiles=Tiles(Tiling(32, 0.0), Lists()))


def picture(*values: int, name: str = "") -> ImageQuery:
    """Squares of 32 px beside each other, each of one value."""
    return ImageQuery(np.repeat(np.array(values, np.uint8), 32)[None, :, None].repeat(32, 0).repeat(3, 2), name)


def test_every_picture_is_answered_once_and_batches_mix_tiles_of_several() -> None:
    backend = Mean()
    asked = [picture(1, 2, 3, name="a"), picture(4, name="b"), picture(5, 6, name="c")]
    found = list(predictor(backend).pairs(asked))
    assert [query is whole for (query, _), whole in zip(found, asked, strict=True)] == [True] * 3
    assert [said for _, said in found] == [
        ([1, 2, 3], [0, 32, 64], (32, 96)), ([4], [0], (32, 32)), ([5, 6], [0, 32], (32, 64)),
    ]  # fmt: skip
    assert backend.batches == [4, 2]
    assert predictor(Mean())([]) == []


def test_a_picture_placed_elsewhere_is_joined_too() -> None:
    made = predictor(Mean(), batch_size=2)
    placed = [part for query in (picture(1, 2, 3), picture(4)) for part in made.placed(query)]
    assert [part.tile.number for part in placed if part.tile] == [0, 1, 2, 0]
    assert [said[0] for said in made.stream_placed(placed)] == [[1, 2, 3], [4]]


def test_memory_is_bounded_by_the_batches_in_hand() -> None:
    read: list[int] = []

    def queries() -> Iterator[ImageQuery]:
        for n in range(10):
            read.append(n)
            yield picture(*[n] * 20)

    answers = predictor(Mean()).stream(queries())
    next(answers)
    assert len(read) <= 3


def test_batches_are_of_tiles() -> None:
    (batch,) = predictor(Mean()).batches([picture(1, 2)])
    assert all(isinstance(item, TileQuery) for item in batch.queries)
    assert [geometry.source_hw for geometry in batch.geometries] == [(32, 32)] * 2


def test_a_model_without_tiles_has_none() -> None:
    assert Tiles.of(None, base.get("classification")) is None


def test_tiles_of_a_task_that_cannot_join_them_are_refused() -> None:
    with pytest.raises(ModelError, match="classification"):
        Tiles.of(Tiling(32, 0.0).to_json(), base.get("classification"), "b/bundle.json")


def test_tiles_of_a_newer_version_are_refused() -> None:
    with pytest.raises(ModelError, match="version 9 is unknown"):
        Tiles.of({"version": 9}, base.get("detection"))
    assert Tiles.of(Tiling(64, 0.5).to_json(), base.get("detection")) == Tiles(Tiling(64, 0.5), base.get("detection"))  # type: ignore[arg-type]


def test_small_pictures_are_asked_as_without_tiles() -> None:
    whole = Predictor(PREPARE, Mean(), decode, ("x",), {})
    task: Any = SimpleNamespace(joined=lambda predictions, *_: predictions[0])
    cut = Predictor(PREPARE, Mean(), decode, ("x",), {}, tiles=Tiles(Tiling(64, 0.25), task))
    asked = [ImageQuery(np.random.default_rng(n).integers(0, 255, (20 + n, 60, 3), np.uint8)) for n in range(5)]
    assert cut(asked) == whole(asked)
