"""DINO's knobs."""

from __future__ import annotations

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


class DinoLossSpec(SetLossSpec):
    """As the paper's: the class counts half as much as in the matching."""

    class_weight: float = knob(1.0, "Weight of the focal loss of the classes", ge=0, le=100)


class DinoSpec(ObjectQueriesSpec):
    """DINO on any backbone."""

    name: str = knob("dino", "The network's name")
    queries: int = knob(900, "Object queries: the most objects that one picture can have", ge=1, le=10_000)
    hidden: int = knob(2048, "Width of the feed-forward layers", unit="values", ge=1, le=65536)
    dropout: float = knob(0.0, "Share of the stream that is dropped in training", ge=0, lt=1, tunable=Tunable(0, 0.3))
    detections: int = knob(300, "Best answers that are kept of a picture", ge=1, le=10_000)
    denoising: DenoisingSpec = knob(None, "Denoising queries, in training only", factory=DenoisingSpec)
    loss: DinoLossSpec = knob(None, "What is minimised", factory=DinoLossSpec)
