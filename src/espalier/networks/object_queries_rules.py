"""How `resolve` fills what is otherwise for detectors with object queries, and what can't work."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from espalier.errors import Problem
from espalier.spec.facts import Facts
from espalier.spec.rules import Caution, learnt, most_labels, until_the_minutes
from espalier.spec.sections import Spec

LEAST_PX = 256
FEW_PICTURES = 2000  # up to as many, training is so short that the published rate is too low
WARMUP_STEPS = 30
FIXED = ("stretch", "centre_crop", "letterbox")  # every picture comes out at the same size


def fit(spec: Spec, facts: Facts) -> tuple[str, str]:
    """The whole picture in its shape: nothing that is labelled may be cropped away."""
    return "letterbox", "objects at the edges count too"


def size_hw(spec: Spec, facts: Facts) -> tuple[tuple[int, int], str]:
    """As large as the pictures are, in steps of 32 px, within what the network is made for."""
    network: Any = spec.network
    most = network.largest_px
    tile = network.input.tile_px
    seen = (tile, tile) if isinstance(tile, int) and tile else facts.median_size_hw
    own = most if seen is None else _upwards(max(seen))
    side = min(max(own, LEAST_PX), most)
    if side < most:
        return (side, side), "the pictures are no larger" if side == own else "the least that finds small objects"
    return (most, most), "network.largest_px; smaller is quicker, larger finds smaller objects"


def _upwards(side: int) -> int:
    return -(-side // 32) * 32


def lr(spec: Spec, facts: Facts) -> tuple[float, str]:
    """2e-4 for 16 pictures a step (Deformable DETR, DINO), scaled by the root; 4e-4 for up to 4 of few pictures.

    The published rate is for some 100,000 steps. Few pictures are trained on for hundreds or thousands, in which a
    transformer from random weights gets nowhere at that rate.
    """
    count, pictures = learnt(spec, facts), _pictures(spec)
    if 0 < count <= FEW_PICTURES:
        rate = 4e-4 * (max(pictures, 4) / 4) ** 0.5
        return float(f"{rate:.3g}"), f"4e-4 for up to 4 pictures a step where only {count} are learnt from"
    return float(f"{2e-4 * (pictures / 16) ** 0.5:.3g}"), f"2e-4 for 16 pictures a step, {pictures} here"


def warmup_epochs(spec: Spec, facts: Facts) -> tuple[float, str]:
    """Some 30 steps where an epoch is shorter than that, but no more than a tenth of the training."""
    count = learnt(spec, facts)
    if not 0 < count <= FEW_PICTURES:
        return 0.5, "the usual"
    steps = max(1, count // _pictures(spec))
    most = spec.train.epochs / 10 if isinstance(spec.train.epochs, int) else WARMUP_STEPS
    chosen = max(0.5, min(WARMUP_STEPS / steps, most))
    return round(chosen, 2), f"{round(chosen * steps)} steps: an epoch of so few pictures has only {steps}"


def _pictures(spec: Spec) -> int:
    """Of an optimiser step."""
    train = spec.train
    batch = train.batch_size if isinstance(train.batch_size, int) else 1
    devices = train.devices if isinstance(train.devices, int) else 1
    return batch * train.accumulate * devices


def batch_size(spec: Spec, facts: Facts) -> tuple[int, str]:
    """Few: a detector's pictures are large, and more steps matter more than large ones."""
    usual = 2 if spec.train.device == "cpu" else 4
    fits = facts.batch_fits if facts.batch_fits is not None else usual
    count = learnt(spec, facts)
    few = max(1, count // 4) if count else usual
    chosen = max(1, min(usual, fits, few))
    if chosen < usual:
        return chosen, "so few pictures or so little memory"
    return chosen, "twice the steps of 4 in the same time" if usual == 2 else "the usual for detectors on one device"


def epochs(spec: Spec, facts: Facts) -> tuple[int, str]:
    """Enough passes to see some 30,000 pictures, since queries learn slowly; by the clock as many as it allows."""
    if timed := until_the_minutes(spec):
        return timed
    count = learnt(spec, facts)
    if count == 0:
        return 50, "the usual; the number of pictures is not known"
    return min(max(round(30_000 / count), 12), 300), f"{count} pictures"


def freeze_batch_norm(spec: Spec, facts: Facts) -> tuple[bool, str]:
    """As published where the backbone knows something; norms of random weights have nothing to keep."""
    if facts.pretrained:
        return True, "batches are small, and the backbone's own statistics are good"
    return False, "the backbone starts from random weights, which have no statistics yet"


RULES = {
    "freeze_batch_norm": freeze_batch_norm,
    "network.input.fit": fit,
    "network.input.size_hw": size_hw,
    "train.lr": lr,
    "train.batch_size": batch_size,
    "train.epochs": epochs,
    "train.warmup_epochs": warmup_epochs,
}


def too_few_queries(spec: Spec, facts: Facts) -> Iterator[Problem | Caution]:
    """Says where a picture has more objects than can be found in it."""
    network: Any = spec.network
    most, where = most_labels(spec, facts), "tile" if network.input.tile_px else "picture"
    for name in ("queries", "detections"):
        count = getattr(network, name)
        if count < most:
            reason = f"a {where} has {most} objects, of which no more than {count} can be found"
            yield Caution(f"network.{name}", count, reason)


def too_few_tokens(spec: Spec, facts: Facts) -> Iterator[Problem | Caution]:
    """Refuses queries that are chosen among fewer places than there are queries."""
    network: Any = spec.network
    size = network.input.size_hw
    fixed = not isinstance(size, str) and network.input.fit in FIXED
    if not network.picks_queries or facts.backbone is None or not fixed:
        return
    places = tokens(size, facts.backbone.strides, finest=network.finest_stride, levels=network.levels)
    if network.queries > places:
        yield Problem(
            "network.queries",
            f"{network.queries} queries can't be chosen among {places} places, all that {size[1]} x {size[0]} px give",
            f"at most {places} with {network.levels} levels from stride {network.finest_stride} px on",
            f"take network.queries={places // 2}, or a larger network.input.size_hw",
        )


def tokens(size_hw: tuple[int, int], strides: Sequence[int], *, finest: int, levels: int) -> int:
    """The cells of all levels; those that the backbone lacks are half as large as the one before, each."""
    taken = [stride for stride in strides if stride >= finest][-levels:]
    while taken and len(taken) < levels:
        taken.append(2 * taken[-1])
    return sum(math.prod(-(-side // stride) for side in size_hw) for stride in taken)


CHECKS = (too_few_queries, too_few_tokens)
