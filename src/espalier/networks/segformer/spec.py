"""SegFormer's knobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from espalier.networks.segformer import rules
from espalier.spec.fields import Auto, Model, Tunable, knob
from espalier.spec.rules import Wish
from espalier.spec.sections import NetworkSpec


class SegmentationLossSpec(Model):
    """What is minimised, over the pixels of the network's input."""

    kind: Literal["cross_entropy", "ohem", "focal", "dice"] = knob(
        "cross_entropy",
        "cross_entropy | ohem (of the pixels that are hard alone) | focal (sure pixels count little) | dice (overlap "
        "of each class, however small)",
        tunable=Tunable(choices=("cross_entropy", "ohem", "focal"), scale="choice"),
    )
    dice_weight: float = knob(
        0.0, "Weight of a Dice loss beside another kind; 0 has none", ge=0, le=100, tunable=Tunable(0, 2)
    )
    over: Literal["labelled", "all"] = knob(
        "labelled",
        "What sums over pixels are divided by: the labelled pixels, or all of them, ignored ones too, as published",
    )
    class_weights: Literal["none", "balanced"] | tuple[float, ...] = knob(
        "none",
        "Weight of each class in all kinds but dice: none, balanced (rare classes count more), or one number a class "
        "in the order of data.classes",
    )
    focus: float = knob(2.0, "With focal: the power by which sure pixels count less", ge=0, le=10)
    hard_below: float = knob(
        0.7, "With ohem: a pixel is hard where its class is given less than this probability", gt=0, le=1
    )
    hard_share: float = knob(0.0625, "With ohem: the share of labelled pixels that is hard at least", ge=0, le=1)


class SegformerSpec(NetworkSpec):
    """An encoder with maps of several strides, and SegFormer's all-MLP decoder."""

    rules: ClassVar[Mapping[str, Any]] = {
        **rules.RULES,
        "loss.class_weights": Wish("balanced", rules.balanced),
    }

    name: str = knob("segformer", "The network's name")
    largest_px: int = knob(
        512,
        "What network.input.size_hw: auto makes of larger pictures: the side of the input",
        unit="px",
        ge=32,
        le=16384,
    )
    width: int | Auto = knob(
        "auto",
        "Channels of the decoder; auto is 256 on small encoders and 768 on FAN and those of 20 M parameters or more, "
        "as published",
        unit="values",
        ge=8,
        le=4096,
    )
    dropout: float = knob(
        0.1, "Share of the decoder's channels that are dropped in training", ge=0, lt=1, tunable=Tunable(0, 0.3)
    )
    exact: bool = knob(
        False,
        "A pixel of the picture has the class of the logits resized to the picture's own size, in place of the class "
        "of the input's nearest pixel: slower, and finer where the input is smaller than the picture",
    )
    loss: SegmentationLossSpec = knob(None, "What is minimised", factory=SegmentationLossSpec)
