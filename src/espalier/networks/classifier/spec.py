"""The classifier's knobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from espalier.networks.classifier import rules
from espalier.spec.fields import Auto, Model, Tunable, knob
from espalier.spec.rules import Wish
from espalier.spec.sections import NetworkSpec


class LossSpec(Model):
    """What the classifier minimises: cross entropy, or binary cross entropy for several labels a picture."""

    label_smoothing: float = knob(
        0.0, "Share of the target that is spread over all classes", ge=0, lt=1, tunable=Tunable(0, 0.2)
    )
    class_weights: Literal["none", "balanced"] | tuple[float, ...] = knob(
        "none",
        "Weight of each class in the loss: none, balanced (rare classes count more), or one number a class "
        "in the order of data.classes; with several labels a picture it weights the positives",
    )


class ClassifierSpec(NetworkSpec):
    """Any backbone with a linear (or one-hidden-layer) head: one label a picture, or several."""

    rules: ClassVar[Mapping[str, Any]] = {
        "multi_label": rules.multi_label,
        "loss.class_weights": Wish("balanced", rules.balanced),
    }

    name: str = knob("classifier", "The network's name")
    multi_label: bool | Auto = knob("auto", "May a picture have several labels (or none)? auto looks at the data")
    pool: Literal["backbone", "avg", "max", "gem"] = knob(
        "backbone",
        "How the last map becomes one vector: backbone keeps what the published classifier sees (its own "
        "pooling and layers after it), gem learns a generalised mean",
        tunable=Tunable(choices=("backbone", "avg", "gem"), scale="choice"),
    )
    hidden: int = knob(
        0,
        "Width of a hidden layer before the last one; 0 has none",
        unit="values",
        ge=0,
        le=65536,
        tunable=Tunable(choices=(0, 256, 512), scale="choice"),
    )
    dropout: float = knob(0.0, "Share of the vector that is dropped in training", ge=0, lt=1, tunable=Tunable(0, 0.5))
    loss: LossSpec = knob(None, "What is minimised", factory=LossSpec)
