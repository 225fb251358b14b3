"""The knobs that detectors with object queries share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from espalier.networks.detector_spec import DetectorSpec
from espalier.networks.object_queries_rules import CHECKS, RULES
from espalier.spec.fields import Model, Tunable, knob


class SetLossSpec(Model):
    """Weights of the loss, and what a poor answer costs when queries are matched to objects."""

    score: Literal["presence", "fit"] = knob(
        "presence",
        "What a score is taught: that the object is there (the focal loss, as published), or how well the box fits it "
        "(DEIM's loss, which learns sooner)",
    )
    class_weight: float = knob(2.0, "Weight of the focal loss of the classes", ge=0, le=100)
    l1_weight: float = knob(5.0, "Weight of the distance between box numbers", ge=0, le=100)
    giou_weight: float = knob(2.0, "Weight of the generalized IoU of the boxes", ge=0, le=100)
    class_cost: float = knob(2.0, "Cost of a wrong class in the matching", ge=0, le=100)
    l1_cost: float = knob(5.0, "Cost of the distance between box numbers in the matching", ge=0, le=100)
    giou_cost: float = knob(2.0, "Cost of a poor overlap in the matching", ge=0, le=100)


class ObjectQueriesSpec(DetectorSpec):
    """A backbone, an encoder over several levels of its maps, and a decoder of object queries."""

    rules: ClassVar[Mapping[str, Any]] = RULES
    checks: ClassVar[tuple[Any, ...]] = CHECKS

    queries: int = knob(
        300, "Object queries: the most objects that one picture can have", ge=1, le=10_000, tunable=Tunable(50, 900)
    )
    width: int = knob(256, "Channels of a token; a multiple of 32 and of the heads", unit="values", ge=32, le=4096)
    hidden: int = knob(1024, "Width of the feed-forward layers", unit="values", ge=1, le=65536)
    heads: int = knob(8, "Attention heads", ge=1, le=64)
    encoder_points: int = knob(4, "Sampling points of an encoder's head on a level", ge=1, le=64)
    decoder_points: int = knob(4, "Sampling points of a decoder's head on a level", ge=1, le=64)
    encoder_layers: int = knob(6, "Layers of the encoder", ge=1, le=24)
    decoder_layers: int = knob(6, "Layers of the decoder", ge=1, le=24)
    dropout: float = knob(0.1, "Share of the stream that is dropped in training", ge=0, lt=1, tunable=Tunable(0, 0.3))
    loss: SetLossSpec = knob(None, "What is minimised", factory=SetLossSpec)

    @property
    def picks_queries(self) -> bool:
        """Are the queries picked among the picture's cells? Then it needs as many."""
        return True
