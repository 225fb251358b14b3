"""timm's own records of the weights that it offers."""

from __future__ import annotations

import timm

from espalier.backbones.families.timm.model import PREFIX
from espalier.backbones.weights.records import NOT_STATED, WeightRecord


def records(name: str) -> tuple[WeightRecord, ...]:
    """The record of `timm/NAME.TAG`, or of the encoder's first tag; none where timm has no weights."""
    config = timm.get_pretrained_cfg(name.removeprefix(PREFIX))
    if config is None or not config.has_weights or not config.hf_hub_id:
        return ()
    tagged = f"{config.architecture}.{config.tag}" if config.tag else str(config.architecture)
    licence = {None: NOT_STATED, "unknown": NOT_STATED}.get(config.license, str(config.license))
    return (WeightRecord(tagged, f"{PREFIX}{config.architecture}", f"hub:{config.hf_hub_id}", licence),)
