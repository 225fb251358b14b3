"""MiT, SegFormer's encoder, written from Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation
with Transformers", 2021, arXiv 2105.15203.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from espalier.backbones.adoption import fitted
from espalier.backbones.backbone import Backbone
from espalier.backbones.facts import BackboneFacts
from espalier.backbones.families.mit.blocks import BLOCK_EPS, EMBED_EPS, Block
from espalier.backbones.families.mit.sizes import HEADS, MLP_RATIO, REDUCTIONS, SIZES, Size
from espalier.layers.initial import initialise
from espalier.layers.recompute import through
from espalier.layers.stochastic_depth import spread_evenly

INPUT_CONV = "stages.0.embed.conv.weight"


class Patches(nn.Module):
    """Overlapping patches: a convolution whose stride is about half of its kernel, and a norm."""

    def __init__(self, before: int, width: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, width, kernel, stride=stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(width, eps=EMBED_EPS)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """(B, H/s, W/s, C); a side that is no multiple of the stride rounds up."""
        patches: Tensor = self.norm(self.conv(map_BCHW).permute(0, 2, 3, 1))
        return patches


class Stage(nn.Module):
    """The blocks of one stride, and a norm after the last."""

    def __init__(self, size: Size, number: int, before: int) -> None:
        super().__init__()
        width = size.widths[number]
        kernel, stride = (3, 2) if number else (7, 4)
        self.embed = Patches(before, width, kernel=kernel, stride=stride)
        self.blocks = nn.ModuleList(
            Block(width, HEADS[number], REDUCTIONS[number], MLP_RATIO) for _ in range(size.depths[number])
        )
        self.norm = nn.LayerNorm(width, eps=BLOCK_EPS)
        self.recomputes = False

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """(B, C, H/s, W/s), channels-last in memory."""
        map_BHWC = self.embed(map_BCHW)
        for block in self.blocks:
            map_BHWC = through(block, map_BHWC, again=self.recomputes)
        normed: Tensor = self.norm(map_BHWC)
        return normed.permute(0, 3, 1, 2)


class Mit(Backbone):
    """A MiT of any size, for pictures of any size from 32 px on; sides that are no multiple of a stride round up."""

    def __init__(self, size: Size, facts: BackboneFacts, *, channels_in: int, out: str) -> None:
        super().__init__(facts, out)
        befores = (channels_in, *size.widths[:-1])
        self.stages = nn.ModuleList(Stage(size, number, before) for number, before in enumerate(befores))
        initialise(self)

    def embedding(self, image_BCHW: Tensor) -> Tensor:
        """(B, C): the mean over the last map."""
        return self.features(image_BCHW).mean(dim=(2, 3))

    def features(self, image_BCHW: Tensor) -> Tensor:
        """(B, C, H/32, W/32): the last stage's map, normed."""
        return self.pyramid(image_BCHW)[-1]

    def pyramid(self, image_BCHW: Tensor) -> list[Tensor]:
        """Each stage's map, normed, as the next stage and the published decoder read it."""
        maps: list[Tensor] = []
        for stage in self.stages:
            maps.append(stage(maps[-1] if maps else image_BCHW))
        return maps

    def checkpoint_activations(self, on: bool) -> None:
        """Each block is computed again in the backward pass."""
        for stage in self.stages:
            assert isinstance(stage, Stage)
            stage.recomputes = on

    def drop_paths(self, rate: float) -> None:
        """None in the first block, rising evenly to `rate` in the last, as published."""
        spread_evenly(self, rate)

    def adopt(self, tensors: Mapping[str, Tensor]) -> None:
        """Fills the encoder; the first convolution adapts to the bands. Raises ModelError for what doesn't fit."""
        self.load_state_dict(fitted(self.facts.name, self.state_dict(), tensors, first=INPUT_CONV))


def build(facts: BackboneFacts, *, channels_in: int, out: str, size_hw: tuple[int, int] | None) -> Mit:
    """A fresh encoder; it takes every `size_hw` from the smallest on, whichever it was built for."""
    return Mit(SIZES[facts.name], facts, channels_in=channels_in, out=out)
