"""FAN's card: the fully attentional networks, eight encoders. Importing it imports no torch."""

from __future__ import annotations

from espalier.backbones.facts import BackboneFacts
from espalier.backbones.families.fan.sizes import CONVNEXT_WIDTHS, SIZES, FanSize
from espalier.backbones.family import HouseFamily


def facts(name: str, size: FanSize) -> BackboneFacts:
    """What the house knows of a FAN of this size."""
    width = size.width
    finer = CONVNEXT_WIDTHS if size.hybrid else (width // 4, width // 2)
    dense_levels = len(size.dense_blocks) + 1
    return BackboneFacts(
        name=name,
        params=size.params,
        channels=(*finer, width, width),
        strides=(4, 8, 16, 32),
        feature_channels=width,
        feature_stride=16,
        embedding=width,
        size_hw=(224, 224),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        resample="pillow_bicubic",
        fit="centre_crop",
        crop_fraction=1.0,
        smallest_px=32,
        dense_channels=(*(CONVNEXT_WIDTHS if size.hybrid else ()), *[width] * dense_levels),
        dense_strides=(*((4, 8) if size.hybrid else ()), *[16] * dense_levels),
    )


FAMILY = HouseFamily(
    name="fan",
    encoders={name: facts(name, size) for name, size in SIZES.items()},
    builder="espalier.backbones.families.fan.model:build",
    official_name="espalier.backbones.families.fan.official:official_name",
    summary="Fully attentional networks: attention over tokens, then over channels; hold up under corruption",
    source="Zhou et al., Understanding The Robustness in Vision Transformers, 2022, arXiv 2204.12451",
    licence="Apache-2.0",
)
