"""DINO's card."""

from __future__ import annotations

from espalier.networks.card import DecodeRule, Network
from espalier.networks.dino.spec import DinoSpec
from espalier.networks.object_queries_card import decode as decode_boxes
from espalier.networks.object_queries_card import prepare
from espalier.networks.presets import PresetFile
from espalier.networks.published_results import PublishedFile
from espalier.spec.sections import NetworkSpec

PRESETS = PresetFile(__name__)


def decode(spec: NetworkSpec) -> DecodeRule:
    """The best answers over queries and classes, with their masks where there are some."""
    boxes = decode_boxes(spec)
    assert isinstance(spec, DinoSpec)
    return DecodeRule("detr_masks", 1, boxes.params) if spec.masks else boxes


CARD = Network(
    name="dino",
    task="detection",
    spec=DinoSpec,
    build="espalier.networks.dino.model:build",
    prepare=prepare,
    decode=decode,
    presets=PRESETS,
    facts=PRESETS.facts,
    summary="Where are the objects? DINO (denoising, mixed query selection) on any backbone",
    source='Zhang et al., "DINO: DETR with Improved DeNoising Anchor Boxes", 2022, arXiv 2203.03605',
    licence="Apache-2.0",
    dynamic_size=True,
    official="espalier.networks.dino.official:FAMILY",
    switches={"masks": "instance"},
    needs_maps=True,
    published=PublishedFile(__name__),
    match_outputs="espalier.networks.object_queries_card:match_outputs",
)
