"""A Swin as its published detectors use it (Liu et al., 2021): any input size, padded windows, a norm on each map.

timm's own forward is that of the classifier: it shrinks windows to the map, shifts before it pads, and takes one input
size. Parameters are timm's, under timm's names; the norms are `norms.N`, N the stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from espalier.backbones.facts import BackboneFacts
from espalier.backbones.families.timm.model import Plan, TimmBackbone

APART = -100.0  # added to the attention of tokens that the shift has brought together


class Swin(TimmBackbone):
    """The dense maps alone are of this class."""

    free_size = False  # how far the windows reach over the edge, stage after stage: symbols grow beyond any exporter

    def __init__(self, body: Any, facts: BackboneFacts, plan: Plan, out: str) -> None:
        super().__init__(body, facts, plan, out)
        self.norms = nn.ModuleDict({str(n): nn.LayerNorm(width) for n, width in enumerate(self.channels)})

    def drop_unused(self, levels: Sequence[int]) -> None:
        """The norms of other maps."""
        for name in set(self.norms) - {str(level) for level in levels}:
            del self.norms[name]

    def dense(self, image_BCHW: Tensor) -> list[Tensor]:
        """A map for each stride, normed where it is used."""
        stream_BHWC = self._patches(image_BCHW)
        maps = []
        for number, stage in enumerate(self.body.layers):
            stream_BHWC = stage.downsample(stream_BHWC)
            keeps = not (stage.grad_checkpointing and self.training)
            for place, block in enumerate(stage.blocks):
                shifted = place % 2 == 1
                if keeps:
                    stream_BHWC = block_of(block, stream_BHWC, shifted)
                else:
                    stream_BHWC = checkpoint(block_of, block, stream_BHWC, shifted, use_reentrant=False)
            normed = self.norms[str(number)](stream_BHWC) if str(number) in self.norms else stream_BHWC
            maps.append(normed.permute(0, 3, 1, 2).contiguous())
        return maps

    def _patches(self, image_BCHW: Tensor) -> Tensor:
        """(B, H/4, W/4, C); the picture is padded to whole patches."""
        embed = self.body.patch_embed
        (high, wide), (height, width) = embed.patch_size, image_BCHW.shape[2:]
        patches: Tensor = embed.proj(functional.pad(image_BCHW, (0, -width % wide, 0, -height % high)))
        normed: Tensor = embed.norm(patches.permute(0, 2, 3, 1))
        return normed


def block_of(block: Any, stream_BHWC: Tensor, shifted: bool) -> Tensor:
    """One of timm's blocks on a map of any size: padded to whole windows, then shifted."""
    batch, height, width, channels = stream_BHWC.shape
    side = int(block.attn.window_size[0])
    shift = side // 2 if shifted else 0
    padded = functional.pad(block.norm1(stream_BHWC), (0, 0, 0, -width % side, 0, -height % side))
    rows, columns = padded.shape[1] // side, padded.shape[2] // side
    if shift:
        padded = torch.roll(padded, (-shift, -shift), (1, 2))
    windows = padded.reshape(batch, rows, side, columns, side, channels).transpose(2, 3).reshape(-1, side**2, channels)
    seen = block.attn(windows, mask=_apart(rows, columns, side, shift, windows) if shift else None)
    seen = seen.reshape(batch, rows, columns, side, side, channels).transpose(2, 3).reshape(padded.shape)
    if shift:
        seen = torch.roll(seen, (shift, shift), (1, 2))
    stream_BHWC = stream_BHWC + block.drop_path1(seen[:, :height, :width])
    changed: Tensor = stream_BHWC + block.drop_path2(block.mlp(block.norm2(stream_BHWC)))
    return changed


def _apart(rows: int, columns: int, side: int, shift: int, like: Tensor) -> Tensor:
    """(windows, side², side²): what is added to the attention of tokens that were not neighbours before the shift."""
    part_H, part_W = _parts(rows, side, shift, like), _parts(columns, side, shift, like)
    part = part_H[:, None] * 3 + part_W[None]
    part = part.reshape(rows, side, columns, side).transpose(1, 2).reshape(-1, side**2)
    return (part[:, :, None] != part[:, None, :]).to(like.dtype) * APART


def _parts(windows: int, side: int, shift: int, like: Tensor) -> Tensor:
    """(windows · side,): 0 before the last window, 1 in it, 2 for the cells that came from the other edge."""
    place = torch.arange(windows * side, device=like.device)
    return (place >= windows * side - side).int() + (place >= windows * side - shift).int()
