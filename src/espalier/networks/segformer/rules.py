"""How `resolve` fills what is otherwise for a segmenter."""

from __future__ import annotations

from statistics import median
from typing import Any

from espalier.networks import places_rules
from espalier.networks.places_rules import FEW_PICTURES, own_side_px, pictures_a_step
from espalier.spec.facts import Facts, InputFacts
from espalier.spec.rules import learnt
from espalier.spec.sections import Spec

SMALL_WIDTH, LARGE_WIDTH = 256, 768
LARGE_PARAMS = 20_000_000
"""Encoders from here on are published with the wide decoder: mit_b1 has 13 M, mit_b2 24 M."""
LEAST_PX = 64
MOST_WEIGHT = 10.0


def width(spec: Spec, facts: Facts) -> tuple[int | str, str]:
    """As published with the encoder, or with one of its size."""
    if facts.backbone is None:
        return "auto", "the backbone is not known yet"
    return width_on(facts.backbone), f"as published on encoders like {facts.backbone.name}"


def width_on(encoder: InputFacts) -> int:
    """The published decoder's width on an encoder: 256 up to mit_b1, 768 from mit_b2 on and on every FAN."""
    wide = encoder.name.startswith("fan_") or encoder.params >= LARGE_PARAMS
    return LARGE_WIDTH if wide else SMALL_WIDTH


def fit(spec: Spec, facts: Facts) -> tuple[str, str]:
    """The whole picture in its shape: every pixel gets a class."""
    return "letterbox", "every pixel of the picture gets a class"


def size_hw(spec: Spec, facts: Facts) -> tuple[tuple[int, int], str]:
    """As large as the pictures are, in steps of 32 px, within what the network is made for."""
    network: Any = spec.network
    most = network.largest_px
    side = min(max(own_side_px(spec, facts), LEAST_PX), most)
    if side < most:
        return (side, side), "the pictures are no larger"
    return (most, most), "network.largest_px; smaller is quicker, larger sees finer things"


def lr(spec: Spec, facts: Facts) -> tuple[float, str]:
    """6e-4 for 16 pictures a step, the paper's for its decoder; 2e-3 where pictures, and so steps, are few."""
    pictures, count = pictures_a_step(spec), learnt(spec, facts)
    few = 0 < count <= FEW_PICTURES
    base = 2e-3 if few else 6e-4
    reason = f"{base:g} for 16 pictures a step, {pictures} here"
    chosen = float(f"{base * (pictures / 16) ** 0.5:.3g}")
    return chosen, f"{reason}, more than usual as training on {count} pictures is short" if few else reason


def warmup_epochs(spec: Spec, facts: Facts) -> tuple[float, str]:
    """An epoch, or another share where it has only a few steps."""
    return places_rules.warmup_epochs(spec, facts, usual=1.0)


def batch_size(spec: Spec, facts: Facts) -> tuple[int, str]:
    """Few: a picture has many labels, and more steps matter more than large ones."""
    usual = 4 if spec.train.device == "cpu" else 8
    fits = facts.batch_fits if facts.batch_fits is not None else usual
    count = learnt(spec, facts)
    chosen = max(1, min(usual, fits, max(1, count // 4) if count else usual))
    return (
        chosen,
        "the usual for segmenters on one device" if chosen == usual else "so few pictures or so little memory",
    )


def epochs(spec: Spec, facts: Facts) -> tuple[int, str]:
    """Enough passes to see some 20,000 pictures; by the clock as many as the minutes allow."""
    return places_rules.epochs(spec, facts, pictures=20_000)


def balanced(spec: Spec, facts: Facts) -> tuple[tuple[float, ...] | str, str]:
    """The root of the median class's pixels over each class's.

    By the pixels themselves the rarest class would weigh thousands of times the commonest, and be seen everywhere.
    """
    if facts.class_pixels is None:
        return "balanced", "the data is not known yet"
    counts = [max(count, 1) for count in facts.class_pixels()]
    weights = [(median(counts) / count) ** 0.5 for count in counts]
    reason = "the root of the median class's pixels over each class's, so that rare classes count more"
    return tuple(round(min(max(weight, 1 / MOST_WEIGHT), MOST_WEIGHT), 4) for weight in weights), reason


RULES = {
    "width": width,
    "network.input.fit": fit,
    "network.input.size_hw": size_hw,
    "train.lr": lr,
    "train.batch_size": batch_size,
    "train.epochs": epochs,
    "train.warmup_epochs": warmup_epochs,
}
