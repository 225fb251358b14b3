"""SegFormer's all-MLP decoder (Xie et al., 2021, section 3.2): every level to one width, one size, one sum."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


class MlpDecoder(nn.Module):
    """Maps of several strides, fine to coarse, to logits at the finest map's size.

    As published, a linear layer brings each level to `width`, all are made as large as the finest, and one layer mixes
    them. Made larger by bilinear weights that sum to 1, a map may as well be mixed before: each level's two layers are
    one product at its own size, and the map of all levels side by side is never made. The numbers are the same.
    """

    def __init__(self, channels: Sequence[int], width: int, classes: int, *, dropout: float) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.Linear(given, width) for given in channels)
        self.fuse = nn.Conv2d(len(channels) * width, width, 1, bias=False)  # its inputs: coarsest first, as published
        self.norm = nn.BatchNorm2d(width)
        self.drop = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, classes, 1)
        nn.init.kaiming_normal_(self.fuse.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.classify.weight, std=0.01)
        nn.init.zeros_(self.classify.bias)  # type: ignore[arg-type]  # it has a bias

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(B, classes, h, w), of the finest map's size."""
        size_hw = maps[0].shape[2:]
        mixes = self.fuse.weight.flatten(1).chunk(len(maps), dim=1)
        fused = self._mixed(0, maps[0], mixes[-1])
        for number in range(1, len(maps)):
            mixed = self._mixed(number, maps[number], mixes[-1 - number])
            fused = fused + functional.interpolate(mixed, size=size_hw, mode="bilinear", align_corners=False)
        logits: Tensor = self.classify(self.drop(functional.relu(self.norm(fused))))
        return logits

    def _mixed(self, number: int, map_BCHW: Tensor, mix_DD: Tensor) -> Tensor:
        """The level's part of the sum, at its own size, channels-last in memory."""
        level = self.levels[number]
        assert isinstance(level, nn.Linear)
        map_BHWD = functional.linear(map_BCHW.permute(0, 2, 3, 1), mix_DD @ level.weight, mix_DD @ level.bias)
        return map_BHWD.permute(0, 3, 1, 2)
