"""Rules shared by networks that say where things are in the whole picture: detectors and segmenters."""

from __future__ import annotations

from typing import Any

from espalier.spec.facts import Facts
from espalier.spec.rules import learnt, until_the_minutes
from espalier.spec.sections import Spec

FEW_PICTURES = 2000  # up to as many, training is so short that the published rate is too low
WARMUP_STEPS = 30
STEP_PX = 32


def pictures_a_step(spec: Spec) -> int:
    """Of an optimiser step."""
    train = spec.train
    batch = train.batch_size if isinstance(train.batch_size, int) else 1
    devices = train.devices if isinstance(train.devices, int) else 1
    return batch * train.accumulate * devices


def warmup_epochs(spec: Spec, facts: Facts, *, usual: float) -> tuple[float, str]:
    """Some 30 steps where an epoch is shorter than that, but no more than a tenth of the training."""
    count = learnt(spec, facts)
    if not 0 < count <= FEW_PICTURES:
        return usual, "the usual"
    steps = max(1, count // pictures_a_step(spec))
    most = spec.train.epochs / 10 if isinstance(spec.train.epochs, int) else WARMUP_STEPS
    chosen = max(0.5, min(WARMUP_STEPS / steps, most))
    return round(chosen, 2), f"{round(chosen * steps)} steps: an epoch of so few pictures has only {steps}"


def epochs(spec: Spec, facts: Facts, *, pictures: int) -> tuple[int, str]:
    """Enough passes to see so many pictures; by the clock as many as the minutes allow."""
    if timed := until_the_minutes(spec):
        return timed
    count = learnt(spec, facts)
    if count == 0:
        return 50, "the usual; the number of pictures is not known"
    return min(max(round(pictures / count), 12), 300), f"{count} pictures"


def own_side_px(spec: Spec, facts: Facts) -> int:
    """The longer side of the pictures, or of the tiles that they are cut into, in steps of 32 px upwards.

    `network.largest_px` while the data is not known.
    """
    network: Any = spec.network
    tile = network.input.tile_px
    seen = (tile, tile) if isinstance(tile, int) and tile else facts.median_size_hw
    return int(network.largest_px) if seen is None else -(-max(seen) // STEP_PX) * STEP_PX
