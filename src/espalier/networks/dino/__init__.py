"""DINO's card."""

from __future__ import annotations

from espalier.networks.card import FitPreset, Network
from espalier.networks.dino.spec import DinoSpec
from espalier.networks.object_queries_card import decode, prepare
from espalier.networks.presets import PresetFile
from espalier.networks.published_results import PublishedFile

PRESETS = PresetFile(__name__)

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
    fit_presets=(
        FitPreset("base", accelerated=True, minutes=60),
        FitPreset("small", accelerated=True),
        FitPreset("nano"),
    ),
    needs_maps=True,
    published=PublishedFile(__name__),
    match_outputs="espalier.networks.object_queries_card:match_outputs",
)
