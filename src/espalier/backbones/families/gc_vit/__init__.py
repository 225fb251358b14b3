"""GC-ViT: windows that attend to themselves, and to one query made from the whole picture. Imports no torch."""

from __future__ import annotations

from espalier.backbones.facts import BackboneFacts
from espalier.backbones.families.gc_vit.sizes import ALIASES, SIZES, STRIDES, Size
from espalier.backbones.family import HouseFamily

SMALLEST_PX = 32


def facts_of(name: str, size: Size) -> BackboneFacts:
    """The facts of one size."""
    return BackboneFacts(
        name=name,
        params=size.params,
        channels=size.channels,
        strides=STRIDES,
        feature_channels=size.channels[-1],
        feature_stride=STRIDES[-1],
        embedding=size.channels[-1],
        size_hw=(size.trained_px, size.trained_px),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        resample="pillow_bicubic",
        fit="centre_crop",
        crop_fraction=size.crop_fraction,
        smallest_px=SMALLEST_PX,
    )


FAMILY = HouseFamily(
    name="gc_vit",
    encoders={name: facts_of(name, size) for name, size in SIZES.items()},
    aliases=ALIASES,
    builder="espalier.backbones.families.gc_vit.model:build",
    official_name="espalier.backbones.families.gc_vit.official:official_name",
    summary="Local windows in turn with windows that ask one query of the whole picture: fine detail and context",
    source="Hatamizadeh et al., 'Global Context Vision Transformers', 2022, arXiv 2206.09959",
    licence="Apache-2.0",
    derived=("relative_position_index",),
)
