"""The published sizes of GC-ViT as data. Importing this module imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HEAD_WIDTH = 32
"""Channels of an attention head, alike in every size and level."""

STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True)
class Size:
    """What tells one GC-ViT from another. A level has twice the channels of the level before it."""

    width: int  # channels of the first level
    depths: tuple[int, int, int, int]  # blocks of each level; the odd ones attend globally
    mlp_ratio: int
    params: int  # of the encoder that gives the embedding
    layer_scale: float | None = None  # where it starts; None has none
    trained_px: int = 224
    crop_fraction: float = 1.0  # with which the published weights were measured

    @property
    def channels(self) -> tuple[int, int, int, int]:
        """Of each level."""
        return self.width, 2 * self.width, 4 * self.width, 8 * self.width

    @property
    def windows(self) -> tuple[int, int, int, int]:
        """Side of each level's windows, in positions: at the trained size they tile every map."""
        small = self.trained_px // 32
        return small, small, 2 * small, small


SIZES: Mapping[str, Size] = {
    "gc_vit_xxtiny": Size(64, (2, 2, 6, 2), 3, 11_482_428),
    "gc_vit_xtiny": Size(64, (3, 4, 6, 5), 3, 19_468_294, crop_fraction=0.875),
    "gc_vit_tiny": Size(64, (3, 4, 19, 5), 3, 27_708_974),
    "gc_vit_tiny2": Size(64, (3, 4, 29, 5), 3, 34_022_654, crop_fraction=0.875),
    "gc_vit_small": Size(96, (3, 4, 19, 5), 2, 50_323_173, 1e-5, crop_fraction=0.875),
    "gc_vit_small2": Size(96, (3, 4, 23, 5), 3, 67_846_197, 1e-5, crop_fraction=0.875),
    "gc_vit_base": Size(128, (3, 4, 19, 5), 2, 89_295_836, 1e-5),
    "gc_vit_large": Size(192, (3, 4, 19, 5), 2, 200_538_570, 1e-5),
    "gc_vit_large_384": Size(192, (3, 4, 19, 5), 2, 201_323_610, 1e-5, trained_px=384),
    "gc_vit_large_512": Size(192, (3, 4, 19, 5), 2, 202_258_362, 1e-5, trained_px=512),
}

ALIASES: Mapping[str, str] = {
    "gc_vit_large_224_21k": "gc_vit_large",
    "gc_vit_large_384_21k": "gc_vit_large_384",
    "gc_vit_large_512_21k": "gc_vit_large_512",
}
"""Names of the encoders whose published weights saw ImageNet-21k first; only their classifiers differ."""
