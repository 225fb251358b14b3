"""Deformable DETR's card."""

from __future__ import annotations

from espalier.networks.card import Network
from espalier.networks.deformable_detr.spec import DeformableDetrSpec
from espalier.networks.object_queries_card import decode, prepare
from espalier.networks.presets import PresetFile
from espalier.networks.published_results import PublishedFile

PRESETS = PresetFile(__name__)

CARD = Network(
    name="deformable_detr",
    task="detection",
    spec=DeformableDetrSpec,
    build="espalier.networks.deformable_detr.model:build",
    prepare=prepare,
    decode=decode,
    presets=PRESETS,
    facts=PRESETS.facts,
    summary="Where are the objects? Deformable DETR on any backbone: plain, with box refinement, two-stage",
    source='Zhu et al., "Deformable DETR: Deformable Transformers for End-to-End Object Detection", arXiv 2010.04159',
    licence="Apache-2.0",
    dynamic_size=True,
    official="espalier.networks.deformable_detr.official:FAMILY",
    needs_maps=True,
    published=PublishedFile(__name__),
    match_outputs="espalier.networks.object_queries_card:match_outputs",
)
