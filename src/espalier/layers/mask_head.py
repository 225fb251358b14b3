"""Outlines as kernels over one map: the logits of an answer's mask are its kernel times the map's channels.

After CondInst (Tian et al., 2020) and MaskFormer (Cheng et al., 2021), with one linear kernel an answer; where that
looks is told by the sines of its box against the sines of the map's cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from espalier.layers.deformable_transformer import Perceptron
from espalier.layers.positions import box_positions, cell_positions

STRIDE = 4  # px of the network's input, of the map that masks are drawn on
_GROUPS = 8
_BOX_NUMBERS = (1, 0, 2, 3)  # cy, cx, w, h


@dataclass(frozen=True)
class MaskMaps:
    """What masks are drawn from: the finest map that answers see, and the backbone's own of stride 4 if it has one."""

    finest_BCHW: Tensor
    fine_BCHW: Tensor | None
    padded_BHW: Tensor  # of the whole input


class MaskHead(nn.Module):
    """`features` makes the map, `kernels` what each answer multiplies it with.

    `fine` are the channels of the backbone's map of stride 4, None where it has none; `enlarge` is how many times finer
    than the finest map that answers see it is.
    """

    def __init__(self, fine: int | None, width: int, channels: int, *, enlarge: float) -> None:
        super().__init__()
        hidden = 2 * channels
        self.hidden, self.enlarge = hidden, enlarge
        self.lateral = None if fine is None else nn.Sequential(nn.Conv2d(fine, hidden, 1), _norm(hidden))
        self.coarse = nn.Sequential(nn.Conv2d(width, hidden, 1), _norm(hidden))
        self.place = nn.Conv2d(hidden, hidden, 1, bias=False)
        self.mix = nn.Sequential(
            *(nn.ReLU(), nn.Conv2d(hidden, hidden, 3, padding=1, bias=False), _norm(hidden)),
            *(nn.ReLU(), nn.Conv2d(hidden, hidden, 3, padding=1, bias=False), _norm(hidden)),
            *(nn.ReLU(), nn.Conv2d(hidden, channels, 1)),
        )
        self.position = nn.Linear(2 * width, width)
        self.perceptron = Perceptron(width, width, channels, 3)

    def features(self, maps: MaskMaps) -> Tensor:
        """(B, channels, ⌈H/4⌉, ⌈W/4⌉) float32: the map, whose cells cover 4 × 4 px of the input from the top left."""
        padded = maps.padded_BHW[:, ::STRIDE, ::STRIDE]
        # Not centred ones: where there is no picture they divide by nothing, and the map would see wild numbers.
        places = cell_positions(padded, self.hidden, temperature=20.0, centred=False)
        coarse: Tensor = self.coarse(maps.finest_BCHW)
        coarse = functional.interpolate(coarse, scale_factor=self.enlarge, mode="bilinear", align_corners=False)
        mixed: Tensor = _fitted(coarse, padded) + self.place(places.to(coarse.dtype))
        if self.lateral is not None and maps.fine_BCHW is not None:
            mixed = mixed + _fitted(self.lateral(maps.fine_BCHW), padded)
        out: Tensor = self.mix(mixed)
        return out.float()

    def kernels(self, stream_QC: Tensor, box_Q4: Tensor) -> Tensor:
        """(…, Q, channels) float32: of what an answer says its box from, and the box."""
        places = box_positions(box_Q4.detach(), stream_QC.shape[-1] // 2, order=_BOX_NUMBERS)
        out: Tensor = self.perceptron(stream_QC + self.position(places.to(stream_QC.dtype)))
        return out.float()


def _fitted(map_BCHW: Tensor, like_BHW: Tensor) -> Tensor:
    """The map with as many cells: encoders that round down lack the last ones, which repeat, others have some more."""
    for axis in (1, 2):
        place = torch.arange(like_BHW.shape[axis], device=map_BCHW.device).clamp(max=map_BCHW.shape[axis + 1] - 1)
        map_BCHW = map_BCHW.index_select(axis + 1, place)
    return map_BCHW


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(_GROUPS, channels), channels)
