"""The classifier's card."""

from __future__ import annotations

from espalier.networks.card import DecodeRule, FitPreset, Network
from espalier.networks.classifier.spec import ClassifierSpec
from espalier.networks.input import standard_prepare
from espalier.networks.presets import PresetFile
from espalier.spec.sections import NetworkSpec


def decode(spec: NetworkSpec) -> DecodeRule:
    """Softmax for one label a picture, sigmoid for several."""
    if isinstance(spec, ClassifierSpec) and spec.multi_label is True:
        return DecodeRule("sigmoid", 1, {"threshold": 0.5})
    return DecodeRule("softmax", 1, {"temperature": 1.0})


PRESETS = PresetFile(__name__)

CARD = Network(
    name="classifier",
    task="classification",
    spec=ClassifierSpec,
    build="espalier.networks.classifier.model:build",
    prepare=standard_prepare,
    decode=decode,
    presets=PRESETS,
    facts=PRESETS.facts,
    summary="What is in the picture? Any timm encoder with a linear head; one label a picture, or several",
    source="the encoder's paper; the head is multinomial logistic regression",
    licence="Apache-2.0",
    dynamic_size=True,
    probe="espalier.networks.classifier.probe:Probe",
    fit_presets=(FitPreset("fit"),),
    encoder_suffices=True,
)
