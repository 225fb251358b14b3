"""DINO's knobs."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from espalier.networks.masks_spec import MaskLossSpec, OutliningSpec
from espalier.networks.object_queries_spec import ObjectQueriesSpec, SetLossSpec
from espalier.spec.fields import Model, Tunable, knob


class DenoisingSpec(Model):
    """Labelled boxes, shaken, as queries that know their answer: they steady the training."""

    queries: int = knob(
        100, "Positive queries of the fullest picture, about; as many negatives; 0 switches it off", ge=0, le=10_000
    )
    box_noise: float = knob(
        0.4, "Largest shift of a side, in half sides; negatives are shifted by once to twice that", ge=0, le=1,
        tunable=Tunable(0.1, 0.8),
    )  # fmt: skip
    label_noise: float = knob(0.5, "Twice the share of labels that are flipped", ge=0, le=1)
    groups: int = knob(0, "Groups of the fullest picture; 0: as many as make `queries` positives", ge=0, le=10_000)
    labels: int = knob(0, "Labels that the noised queries know, as many as classes or more; 0: the classes", ge=0)


class DinoLossSpec(SetLossSpec, MaskLossSpec):
    """As the paper's: the class counts half as much as in the matching."""

    class_weight: float = knob(1.0, "Weight of the focal loss of the classes", ge=0, le=100)
    dense_weight: float = knob(
        0.0,
        "Weight of a loss in which several of the encoder's tokens answer for each object: more to learn from few "
        "pictures; 0 switches it off, as published",
        ge=0,
        le=100,
    )


class DinoSpec(ObjectQueriesSpec, OutliningSpec):
    """DINO on any backbone."""

    name: str = knob("dino", "The network's name")
    queries: int = knob(900, "Object queries: the most objects that one picture can have", ge=1, le=10_000)
    hidden: int = knob(2048, "Width of the feed-forward layers", unit="values", ge=1, le=65536)
    dropout: float = knob(0.0, "Share of the stream that is dropped in training", ge=0, lt=1, tunable=Tunable(0, 0.3))
    detections: int = knob(300, "Best answers that are kept of a picture", ge=1, le=10_000)
    query_content: Literal["learnt", "token"] = knob(
        "learnt",
        "What queries begin with: vectors learnt for each rank, as published; or the tokens that they were picked "
        "from, whose order then does not matter",
    )
    position_temperature: float = knob(20.0, "Temperature of the sine positions of cells", gt=0, le=1e6)
    centred_positions: bool = knob(False, "Sine positions count from the middle of the first cell, not from its end")
    share_class_head: bool = knob(True, "All decoder layers share one class head")
    share_box_head: bool = knob(True, "All decoder layers share one box head")
    encoder_class_head: bool = knob(True, "The encoder's tokens have a class head of their own, not the decoder's")
    encoder_box_head: bool = knob(True, "The encoder's tokens have a box head of their own, not the decoder's")
    denoising: DenoisingSpec = knob(None, "Denoising queries, in training only", factory=DenoisingSpec)
    loss: DinoLossSpec = knob(None, "What is minimised", factory=DinoLossSpec)

    @model_validator(mode="after")
    def _has_one_head_to_lend(self) -> DinoSpec:
        """The encoder can take over the decoder's head only where there is one."""
        lends = self.share_class_head and self.share_box_head
        if not lends and not (self.encoder_class_head and self.encoder_box_head):
            what = "the encoder can share the decoder's heads only where all its layers share them"
            raise PydanticCustomError("espalier.heads", what)
        return self
