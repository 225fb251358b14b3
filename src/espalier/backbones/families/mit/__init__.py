"""MiT's card: SegFormer's hierarchical transformers, six encoders. Importing it imports no torch."""

from __future__ import annotations

from espalier.backbones.facts import BackboneFacts
from espalier.backbones.families.mit.sizes import SIZES, STRIDES, Size
from espalier.backbones.family import HouseFamily

SMALLEST_PX = 32
"""Below, the first stage's map would have no key."""


def facts_of(name: str, size: Size) -> BackboneFacts:
    """The facts of one size."""
    return BackboneFacts(
        name=name,
        params=size.params,
        channels=size.widths,
        strides=STRIDES,
        feature_channels=size.widths[-1],
        feature_stride=STRIDES[-1],
        embedding=size.widths[-1],
        size_hw=(224, 224),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        resample="pillow_bicubic",
        fit="centre_crop",
        crop_fraction=0.875,
        smallest_px=SMALLEST_PX,
    )


FAMILY = HouseFamily(
    name="mit",
    encoders={name: facts_of(name, size) for name, size in SIZES.items()},
    builder="espalier.backbones.families.mit.model:build",
    official_name="espalier.backbones.families.mit.official:official_name",
    translate="espalier.backbones.families.mit.official:from_transformers",
    summary="Mix transformers of SegFormer: overlapping patches, attention over fewer keys, no positions to resample",
    source="Xie et al., 'SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers', 2021, "
    "arXiv 2105.15203",
    licence="Apache-2.0",
)
