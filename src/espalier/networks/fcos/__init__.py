"""FCOS's card."""

from __future__ import annotations

from espalier.networks.card import DecodeRule, FitPreset, Network
from espalier.networks.fcos.spec import FcosSpec
from espalier.networks.input import standard_prepare
from espalier.networks.presets import PresetFile
from espalier.spec.sections import NetworkSpec
from espalier.vision.prepare import Prepare, ValidInput

PRESETS = PresetFile(__name__)


def prepare(spec: NetworkSpec) -> Prepare:
    """One image, and which part of it is no padding."""
    return Prepare(standard_prepare(spec).inputs, valid=(ValidInput(),))


def decode(spec: NetworkSpec) -> DecodeRule:
    """The surest answers without doubles, with their masks where there are some."""
    assert isinstance(spec, FcosSpec)
    params = {"top": spec.detections, "candidates": spec.candidates, "overlap": spec.overlap}
    return DecodeRule("dense_masks" if spec.masks else "dense_sigmoid", 1, params)


CARD = Network(
    name="fcos",
    task="detection",
    spec=FcosSpec,
    build="espalier.networks.fcos.model:build",
    prepare=prepare,
    decode=decode,
    presets=PRESETS,
    facts=PRESETS.facts,
    summary="Where are the objects? FCOS on any backbone: convolutions alone, which learn from few pictures",
    source='Tian et al., "FCOS: Fully Convolutional One-Stage Object Detection", 2019, arXiv 1904.01355; cells are '
    "taught as in TOOD (Feng et al., 2021, arXiv 2108.07755), VarifocalNet (Zhang et al., 2020, arXiv 2008.13367)",
    licence="Apache-2.0",
    dynamic_size=True,
    fit_presets=(
        FitPreset("base", accelerated=True, minutes=60),
        FitPreset("small", accelerated=True),
        FitPreset("nano"),
        FitPreset("base_masks", accelerated=True, minutes=60),
        FitPreset("small_masks", accelerated=True),
        FitPreset("nano_masks"),
    ),
    switches={"masks": "instance"},
    needs_maps=True,
)
