"""What torchrun starts for test_several_devices.py: the tiny model on this process's share of each batch.

Arguments: folder, strategy, and the step at which to stop as if killed (0: go to the end).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "trainer"))

from parts import DrawnLoader, Tiny, make_loop, train_spec

from espalier.trainer.checkpoint import exists
from espalier.trainer.devices import rank_and_world


class Shared(DrawnLoader):
    """Every world-th picture of the same batches, whatever the world."""

    def epoch(self, epoch: int, **given: Any) -> Iterator[Any]:
        rank, world = rank_and_world()
        for batch in super().epoch(epoch, **given):
            image, hot = batch.inputs["image"][rank::world], batch.targets["class_C"][rank::world]
            yield SimpleNamespace(inputs={"image": image}, targets={"class_C": hot}, names=batch.names[rank::world])


def plain() -> Tiny:
    """No dropout: its draws are each rank's own."""
    model = Tiny()
    model.drop.p = 0.0
    return model


def main(folder: str, strategy: str, stop: str) -> None:
    """Train, and leave the checkpoints in the folder."""
    train = train_spec(
        devices=rank_and_world()[1], strategy=strategy, freeze=("backbone.1",), checkpoint_every_steps=2, accumulate=2
    )
    loop = make_loop(Path(folder), train, loader=Shared(), model=plain)
    walk = loop.engine.step

    def step(batches: Any, number: int, rate: float) -> Any:
        if int(stop) and number == int(stop):
            os._exit(9)
        return walk(batches, number, rate)

    loop.engine.step = step  # type: ignore[method-assign]
    result = loop.fit(resume=exists(Path(folder) / "checkpoints" / "last"))
    assert result.steps == 9


if __name__ == "__main__":
    main(*sys.argv[1:])
