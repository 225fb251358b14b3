"""How `resolve` fills what is otherwise for FCOS."""

from __future__ import annotations

from typing import Any

from espalier.networks import detector_rules
from espalier.networks.places_rules import pictures_a_step
from espalier.spec.facts import Facts
from espalier.spec.sections import Spec

RATE, PICTURES = 4e-4, 4
CANDIDATES, CELLS = 1000, 10


def lr(spec: Spec, facts: Facts) -> tuple[float, str]:
    """4e-4 for up to 4 pictures a step, by the root beyond (AdamW)."""
    pictures = pictures_a_step(spec)
    rate = RATE * (max(pictures, PICTURES) / PICTURES) ** 0.5
    return float(f"{rate:.3g}"), f"{RATE:g} for up to {PICTURES} pictures a step, {pictures} here"


def candidates(spec: Spec, facts: Facts) -> tuple[int, str]:
    """The paper's 1,000, and ten for each answer that is kept: so many cells answer for an object."""
    network: Any = spec.network
    wanted = CELLS * network.detections
    if wanted <= CANDIDATES:
        return CANDIDATES, "as published"
    return wanted, f"some {CELLS} cells answer for each of network.detections {network.detections}"


RULES = {"candidates": candidates, **detector_rules.RULES, "train.lr": lr}
