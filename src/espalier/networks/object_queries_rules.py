"""How `resolve` fills what is otherwise for detectors with object queries, and what can't work."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from espalier.errors import Problem
from espalier.networks import detector_rules
from espalier.networks.detector_rules import too_few
from espalier.networks.places_rules import FEW_PICTURES, pictures_a_step
from espalier.spec.facts import Facts
from espalier.spec.rules import Caution, learnt
from espalier.spec.sections import Spec

FIXED = ("stretch", "centre_crop", "letterbox")  # every picture comes out at the same size


def lr(spec: Spec, facts: Facts) -> tuple[float, str]:
    """2e-4 for 16 pictures a step (Deformable DETR, DINO), scaled by the root; 4e-4 for up to 4 of few pictures.

    The published rate is for some 100,000 steps. Few pictures are trained on for hundreds or thousands, in which a
    transformer from random weights gets nowhere at that rate.
    """
    count, pictures = learnt(spec, facts), pictures_a_step(spec)
    if 0 < count <= FEW_PICTURES:
        rate = 4e-4 * (max(pictures, 4) / 4) ** 0.5
        return float(f"{rate:.3g}"), f"4e-4 for up to 4 pictures a step where only {count} are learnt from"
    return float(f"{2e-4 * (pictures / 16) ** 0.5:.3g}"), f"2e-4 for 16 pictures a step, {pictures} here"


RULES = {**detector_rules.RULES, "train.lr": lr}


def too_few_queries(spec: Spec, facts: Facts) -> Iterator[Problem | Caution]:
    """Says where a picture has more objects than there are queries."""
    yield from too_few(spec, facts, "queries")


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


CHECKS = (too_few_queries, *detector_rules.CHECKS, too_few_tokens)
