"""SegFormer's card."""

from __future__ import annotations

from espalier.networks.card import DecodeRule, FitPreset, Network
from espalier.networks.input import standard_prepare
from espalier.networks.presets import PresetFile
from espalier.networks.segformer.spec import SegformerSpec
from espalier.spec.sections import NetworkSpec

PRESETS = PresetFile(__name__)


def decode(spec: NetworkSpec) -> DecodeRule:
    """The class that the graph gives each pixel; `exact` resizes the logits to the picture's own size instead."""
    assert isinstance(spec, SegformerSpec)
    return DecodeRule("segmentation_class", 1, {"exact": spec.exact})


CARD = Network(
    name="segformer",
    task="segmentation",
    spec=SegformerSpec,
    build="espalier.networks.segformer.model:build",
    prepare=standard_prepare,
    decode=decode,
    presets=PRESETS,
    facts=PRESETS.facts,
    summary="What is at every pixel? SegFormer: MiT, FAN, GC-ViT or any timm encoder, and a light decoder",
    source='Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers", 2021, '
    "arXiv 2105.15203",
    licence="Apache-2.0",
    dynamic_size=True,
    official="espalier.networks.segformer.official:FAMILY",
    fit_presets=(
        FitPreset("base", accelerated=True, minutes=60),
        FitPreset("small", accelerated=True),
        FitPreset("nano"),
    ),
    needs_maps=True,
    match_outputs="espalier.networks.segformer.ties:match_outputs",
)
