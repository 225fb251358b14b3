"""GC-ViT, written from Hatamizadeh et al., "Global Context Vision Transformers", 2022, arXiv 2206.09959."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from espalier.backbones.adoption import fitted
from espalier.backbones.backbone import Backbone
from espalier.backbones.facts import BackboneFacts
from espalier.backbones.families.gc_vit.convolutions import EPS, DownSampler, Stem, planes
from espalier.backbones.families.gc_vit.level import Level
from espalier.backbones.families.gc_vit.sizes import SIZES, Size
from espalier.layers.stochastic_depth import spread_evenly

INPUT_CONV = "stem.embed.weight"


class GcVit(Backbone):
    """A GC-ViT of any size. Takes any input of 32 px or more with the windows that it was trained with."""

    def __init__(self, size: Size, facts: BackboneFacts, *, channels_in: int, out: str) -> None:
        super().__init__(facts, out)
        self.stem = Stem(channels_in, size.width)
        self.levels = nn.ModuleList(Level(size, number) for number in range(len(size.depths)))
        self.downs = nn.ModuleList(DownSampler(given, 2 * given) for given in size.channels[:-1])
        self.norm = nn.LayerNorm(size.channels[-1], eps=EPS)
        self.apply(_start)

    def embedding(self, image_BCHW: Tensor) -> Tensor:
        """(B, C): the mean over the last map, normed."""
        return self._maps(image_BCHW)[-1].mean(dim=(1, 2))

    def features(self, image_BCHW: Tensor) -> Tensor:
        """(B, C, H/32, W/32): the last map, normed."""
        return planes(self._maps(image_BCHW)[-1])

    def pyramid(self, image_BCHW: Tensor) -> list[Tensor]:
        """Each level's map, normed as what follows reads it: by its down-sampler's norm, the last by the final one."""
        return [planes(level_BHWC) for level_BHWC in self._maps(image_BCHW)]

    def checkpoint_activations(self, on: bool) -> None:
        """Compute blocks again in the backward pass instead of keeping their activations."""
        for level in self.levels:
            assert isinstance(level, Level)
            level.recompute = on

    def drop_paths(self, rate: float) -> None:
        """None in the first block, rising evenly to `rate` in the last, as published."""
        spread_evenly(self, rate)

    def adopt(self, tensors: Mapping[str, Tensor]) -> None:
        """Fills the encoder; the first convolution adapts to the bands. Raises ModelError for what doesn't fit."""
        self.load_state_dict(fitted(self.facts.name, self.state_dict(), tensors, first=INPUT_CONV))

    def _maps(self, image_BCHW: Tensor) -> list[Tensor]:
        """Every level's map (B, H, W, C), normed."""
        maps = []
        level_BHWC = self.stem(image_BCHW)
        for level, down in zip(self.levels, self.downs):
            level_BHWC, normed_BHWC = down(level(level_BHWC))
            maps.append(normed_BHWC)
        return [*maps, self.norm(self.levels[-1](level_BHWC))]


def build(facts: BackboneFacts, *, channels_in: int, out: str, size_hw: tuple[int, int] | None) -> GcVit:
    """A fresh encoder; it takes every `size_hw` from the smallest on, whichever it was built for."""
    return GcVit(SIZES[facts.name], facts, channels_in=channels_in, out=out)


def _start(module: nn.Module) -> None:
    """Linear layers begin small, as is usual for transformers."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
