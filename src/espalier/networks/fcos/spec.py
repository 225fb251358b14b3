"""FCOS's knobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from espalier.networks.fcos.rules import RULES
from espalier.networks.masks_spec import MaskLossSpec, OutliningSpec
from espalier.spec.fields import Auto, Tunable, knob


class FcosLossSpec(MaskLossSpec):
    """What is minimised."""

    class_weight: float = knob(1.0, "Weight of the varifocal loss of the classes", ge=0, le=100)
    giou_weight: float = knob(2.0, "Weight of the generalized IoU of the boxes", ge=0, le=100)
    answers: int = knob(10, "Cells that answer for an object at most", ge=1, le=1000, tunable=Tunable(4, 16))


class FcosSpec(OutliningSpec):
    """A backbone, a feature pyramid, and a head that the cells of all levels share."""

    rules: ClassVar[Mapping[str, Any]] = RULES

    name: str = knob("fcos", "The network's name")
    levels: int = knob(5, "Levels of the pyramid; those the backbone lacks are added", ge=1, le=8)
    width: int = knob(256, "Channels of the pyramid and the head", unit="values", ge=8, le=4096)
    head_layers: int = knob(4, "Convolutions of the head before the classes, and as many before the sides", ge=0, le=16)
    candidates: int | Auto = knob(
        "auto",
        "Surest answers of a picture among which doubles are looked for; auto is 1,000, or ten for each detection",
        ge=1,
        le=1_000_000,
    )
    overlap: float = knob(0.6, "IoU beyond which the less sure of two boxes of a class is a double", gt=0, le=1)
    loss: FcosLossSpec = knob(None, "What is minimised", factory=FcosLossSpec)
