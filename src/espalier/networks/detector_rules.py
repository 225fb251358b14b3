"""How `resolve` fills what is otherwise for detectors, and what it warns of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from espalier.errors import Problem
from espalier.networks import places_rules
from espalier.networks.places_rules import own_side_px
from espalier.spec.facts import Facts
from espalier.spec.rules import Caution, learnt, most_labels
from espalier.spec.sections import Spec

LEAST_PX = 256


def fit(spec: Spec, facts: Facts) -> tuple[str, str]:
    """The whole picture in its shape: nothing that is labelled may be cropped away."""
    return "letterbox", "objects at the edges count too"


def size_hw(spec: Spec, facts: Facts) -> tuple[tuple[int, int], str]:
    """As large as the pictures are, in steps of 32 px, within what the network is made for."""
    network: Any = spec.network
    most, own = network.largest_px, own_side_px(spec, facts)
    side = min(max(own, LEAST_PX), most)
    if side < most:
        return (side, side), "the pictures are no larger" if side == own else "the least that finds small objects"
    return (most, most), "network.largest_px; smaller is quicker, larger finds smaller objects"


def warmup_epochs(spec: Spec, facts: Facts) -> tuple[float, str]:
    """Half an epoch, or more where it has only a few steps."""
    return places_rules.warmup_epochs(spec, facts, usual=0.5)


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
    """Enough passes to see some 30,000 pictures, by the clock as many as it allows."""
    return places_rules.epochs(spec, facts, pictures=30_000)


def freeze_batch_norm(spec: Spec, facts: Facts) -> tuple[bool, str]:
    """As published where the backbone knows something; norms of random weights have nothing to keep."""
    if facts.pretrained:
        return True, "batches are small, and the backbone's own statistics are good"
    return False, "the backbone starts from random weights, which have no statistics yet"


RULES = {
    "freeze_batch_norm": freeze_batch_norm,
    "network.input.fit": fit,
    "network.input.size_hw": size_hw,
    "train.batch_size": batch_size,
    "train.epochs": epochs,
    "train.warmup_epochs": warmup_epochs,
}


def too_few(spec: Spec, facts: Facts, knob: str) -> Iterator[Problem | Caution]:
    """Says where a picture has more objects than a knob lets be found."""
    network: Any = spec.network
    most, count = most_labels(spec, facts), getattr(network, knob)
    if count < most:
        where = "tile" if network.input.tile_px else "picture"
        reason = f"a {where} has {most} objects, of which no more than {count} can be found"
        yield Caution(f"network.{knob}", count, reason)


def too_few_detections(spec: Spec, facts: Facts) -> Iterator[Problem | Caution]:
    """Says where a picture has more objects than answers are kept."""
    yield from too_few(spec, facts, "detections")


def no_map(spec: Spec, facts: Facts) -> Iterator[Problem | Caution]:
    """Refuses a stride that is coarser than all of the backbone's maps."""
    network: Any = spec.network
    if facts.backbone is None or any(stride >= network.finest_stride for stride in facts.backbone.strides):
        return
    coarsest = max(facts.backbone.strides)
    what = f"{facts.backbone.name} has no map of stride {network.finest_stride} px or more"
    fix = "coarser levels than the backbone's are added anyway (network.levels)"
    yield Problem("network.finest_stride", what, f"{coarsest} or less", fix)


CHECKS = (no_map, too_few_detections)
