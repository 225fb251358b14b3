"""A backbone's maps as the tokens of several levels, with positions, padding and valid ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from espalier.layers.deformable_attention import Size
from espalier.layers.positions import cell_positions

GROUPS = 32


@dataclass(frozen=True)
class Tokens:
    """The cells of all levels, row by row, level by level: N tokens of C channels."""

    value_BNC: Tensor
    position_BNC: Tensor  # the cell's place and its level
    padded_BN: Tensor  # true on padding
    valid_ratio_BL2: Tensor  # float32, x, y: the share of each level's map that is picture
    sizes_hw: Sequence[Size]


class Levels(nn.Module):
    """Projects maps to one width and adds coarser levels by strided convolutions.

    `temperature` and `centred` are those of the sine positions.
    """

    def __init__(self, channels: Sequence[int], width: int, *, levels: int, temperature: float, centred: bool) -> None:
        super().__init__()
        self.width, self.temperature, self.centred = width, temperature, centred
        given = [_projection(c, width, kernel=1) for c in channels]
        extra = [_projection(channels[-1] if n == 0 else width, width, kernel=3) for n in range(levels - len(channels))]
        self.projections = nn.ModuleList([*given, *extra])
        self.level_embed = nn.Parameter(torch.empty(levels, width).normal_())

    def forward(self, maps: Sequence[Tensor], padded_BHW: Tensor) -> Tokens:
        """The tokens. `padded_BHW` is the mask of the whole input; each level takes its nearest pixels."""
        projected = [projection(each) for projection, each in zip(self.projections, maps)]
        coarser = maps[-1]
        for projection in list(self.projections)[len(maps) :]:
            coarser = projection(coarser)
            projected.append(coarser)
        masks = [_nearest(padded_BHW, each) for each in projected]
        positions = [
            cell_positions(mask, self.width, temperature=self.temperature, centred=self.centred) for mask in masks
        ]
        placed = [(p.to(m.dtype) + embed[:, None, None]) for p, m, embed in zip(positions, projected, self.level_embed)]
        return Tokens(
            _flat(projected),
            _flat(placed),
            torch.cat([mask.flatten(1) for mask in masks], 1),
            torch.stack([_valid_ratio(mask) for mask in masks], 1),
            [(each.shape[2], each.shape[3]) for each in projected],
        )


def padding_mask(image_BCHW: Tensor, valid_hw: Tensor) -> Tensor:
    """(B, H, W), true right of and below each picture's valid size (B, 2)."""
    height, width = image_BCHW.shape[2:]
    row = torch.arange(height, device=image_BCHW.device) >= valid_hw[:, :1]
    column = torch.arange(width, device=image_BCHW.device) >= valid_hw[:, 1:]
    return row[:, :, None] | column[:, None, :]


def _projection(channels: int, width: int, *, kernel: int) -> nn.Sequential:
    stride = 2 if kernel == 3 else 1
    convolution = nn.Conv2d(channels, width, kernel, stride=stride, padding=kernel // 2)
    nn.init.xavier_uniform_(convolution.weight)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]  # made with a bias above
    return nn.Sequential(convolution, nn.GroupNorm(GROUPS, width))


def _nearest(padded_BHW: Tensor, map_BCHW: Tensor) -> Tensor:
    """The mask at a map's size, in whole numbers: runtimes don't agree on how `interpolate` rounds its places."""
    for axis in (1, 2):
        cells, pixels = map_BCHW.shape[axis + 1], padded_BHW.shape[axis]
        place = torch.arange(cells, device=padded_BHW.device) * pixels // cells
        padded_BHW = padded_BHW.index_select(axis, place)
    return padded_BHW


def _valid_ratio(padded_BHW: Tensor) -> Tensor:
    """(B, 2) float32: x, y, read off the first row and column."""
    valid = ~padded_BHW
    return torch.stack([valid[:, 0].float().mean(1), valid[:, :, 0].float().mean(1)], -1)


def _flat(maps: Sequence[Tensor]) -> Tensor:
    return torch.cat([each.flatten(2).transpose(1, 2) for each in maps], 1)
