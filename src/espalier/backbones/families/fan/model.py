"""FAN as an encoder: a vector, its last map, a pyramid, or the maps of the published dense models.

Zhou et al., "Understanding The Robustness in Vision Transformers", 2022, arXiv 2204.12451; written from the paper.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional

from espalier.backbones.adoption import fitted
from espalier.backbones.backbone import Backbone
from espalier.backbones.facts import BackboneFacts
from espalier.backbones.families.fan.blocks import FanBlock
from espalier.backbones.families.fan.class_attention import ClassBlock, PatchBlock
from espalier.backbones.families.fan.finer import FinerMaps
from espalier.backbones.families.fan.initial import initialise
from espalier.backbones.families.fan.patches import ConvNextPatches, ConvPatches
from espalier.backbones.families.fan.position import SinePosition
from espalier.backbones.families.fan.sizes import CONVNEXT_WIDTHS, SIZES, FanSize
from espalier.layers.recompute import through

COUNTERS = "num_batches_tracked"
UNPUBLISHED = "finer."
"""Layers that no published weights have start with this."""


class Fan(Backbone):
    """A FAN of any size, for pictures of any size; sides that are no multiple of a stride round up.

    The last map ('features', and the pyramid at stride 16) is the patches after the class blocks and the final norm.
    'dense' gives the raw stream: nothing is normalised at its end. Parts that only the class token meets are built for
    'embedding' alone.
    """

    def __init__(self, facts: BackboneFacts, size: FanSize, *, channels_in: int, out: str) -> None:
        super().__init__(facts, out)
        self.size = size
        self.patches: ConvNextPatches | ConvPatches = (
            ConvNextPatches(channels_in, size.width, widths=CONVNEXT_WIDTHS, depths=size.convnext_depths)
            if size.hybrid
            else ConvPatches(channels_in, size.width)
        )
        self.position = SinePosition(size.width, paired=out != "dense")
        self.blocks = nn.ModuleList(FanBlock(size.width, size.heads) for _ in range(size.depth))
        self.class_blocks = nn.ModuleList(_class_blocks(size, out))
        if out == "embedding":
            self.class_token = nn.Parameter(torch.zeros(1, 1, size.width))
        if out != "dense":
            self.norm = nn.LayerNorm(size.width, eps=1e-6)
        if out == "pyramid" and not size.hybrid:
            self.finer = FinerMaps(size.width)
        self.recomputes = False
        initialise(self)

    def embedding(self, image_BCHW: Tensor) -> Tensor:
        """The class token after the final norm."""
        map_BHWC = self._through_blocks(self.patches(_channels_last(image_BCHW)))
        class_B1C = self.class_token.expand(map_BHWC.shape[0], -1, -1).to(map_BHWC.dtype)
        tokens_BNC = torch.cat([class_B1C, map_BHWC.flatten(1, 2)], dim=1)
        for block in self.class_blocks:
            tokens_BNC = through(block, tokens_BNC, again=self.recomputes)
        vector: Tensor = self.norm(tokens_BNC[:, 0])
        return vector

    def features(self, image_BCHW: Tensor) -> Tensor:
        """The patches after the class blocks and the final norm, at stride 16."""
        return self._last(self.patches(_channels_last(image_BCHW)))

    def pyramid(self, image_BCHW: Tensor) -> list[Tensor]:
        """ConvNeXt's maps, or learnt ones from the last map; the last map; and its largest values, two by two."""
        finer, patches_BHWC = self.patches.levels(_channels_last(image_BCHW))
        last = self._last(patches_BHWC)
        height, width = image_BCHW.shape[2:]
        finer = finer if self.size.hybrid else self.finer(last, (height, width))
        return [*finer, last, functional.max_pool2d(last, 2, stride=2, ceil_mode=True)]

    def dense(self, image_BCHW: Tensor) -> list[Tensor]:
        """ConvNeXt's maps, the stream after the blocks that `size.dense_blocks` names, the patches at the end."""
        finer, patches_BHWC = self.patches.levels(_channels_last(image_BCHW))
        seen: list[Tensor] = []
        last_BHWC = self._after_class_blocks(self._through_blocks(patches_BHWC, seen))
        return [*finer, *map(_as_BCHW, seen), _as_BCHW(last_BHWC)]

    def checkpoint_activations(self, on: bool) -> None:
        """Each block, class block and ConvNeXt block is computed again in the backward pass."""
        self.recomputes = on
        if isinstance(self.patches, ConvNextPatches):
            self.patches.convnext.recomputes = on

    def drop_paths(self, rate: float) -> None:
        """The same rate in every block, as published; ConvNeXt's and the class blocks drop nothing."""
        for module in self.modules():
            if isinstance(module, DropPath):
                module.drop_prob = rate

    def adopt(self, tensors: Mapping[str, Tensor]) -> None:
        """Fills the encoder. The input layer adapts to its bands; parts that this `out` hasn't are left out."""
        first = f"patches.{'convnext.stem' if self.size.hybrid else 'convs.0'}.conv.weight"
        own = {name: t for name, t in self.state_dict().items() if not name.endswith(COUNTERS)}
        needed = {name: t for name, t in own.items() if name in tensors or not name.startswith(UNPUBLISHED)}
        self.load_state_dict(fitted(self.facts.name, needed, tensors, first=first, more=True), strict=False)

    def _through_blocks(self, patches_BHWC: Tensor, seen: list[Tensor] | None = None) -> Tensor:
        """The tokens (B, H, W, C) after the last block; those that a dense model sees are put into `seen`."""
        map_BHWC: Tensor = patches_BHWC + self.position(_as_BCHW(patches_BHWC)).permute(0, 2, 3, 1)
        for number, block in enumerate(self.blocks):
            map_BHWC = through(block, map_BHWC, again=self.recomputes)
            if seen is not None and number in self.size.dense_blocks:
                seen.append(map_BHWC)
        return map_BHWC

    def _after_class_blocks(self, map_BHWC: Tensor) -> Tensor:
        for block in self.class_blocks:
            map_BHWC = through(block, map_BHWC, again=self.recomputes)
        return map_BHWC

    def _last(self, patches_BHWC: Tensor) -> Tensor:
        return _as_BCHW(self.norm(self._after_class_blocks(self._through_blocks(patches_BHWC))))


def build(facts: BackboneFacts, *, channels_in: int, out: str, size_hw: tuple[int, int] | None) -> Fan:
    """A fresh encoder; it takes any size, so `size_hw` changes nothing."""
    return Fan(facts, SIZES[facts.name], channels_in=channels_in, out=out)


def _class_blocks(size: FanSize, out: str) -> list[PatchBlock]:
    if out == "embedding":
        return [ClassBlock(size.width, size.heads, last=last) for last in (False, True)]
    return [PatchBlock(size.width) for _ in range(2)]


def _channels_last(image_BCHW: Tensor) -> Tensor:
    """The picture with the channels last in memory, which all that follows keeps to."""
    return image_BCHW.contiguous(memory_format=torch.channels_last)


def _as_BCHW(map_BHWC: Tensor) -> Tensor:
    return map_BHWC.permute(0, 3, 1, 2)
