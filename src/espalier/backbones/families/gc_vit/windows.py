"""A map cut into square windows and put together again; what doesn't fill the last windows is padded.

Shapes: W a window (row by row, the windows of an image together), N the positions of a window, row by row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Windows:
    """How the maps of one level are cut. Batch, height and width may be symbols, in a graph that leaves them open.

    Shapes are written out in full below: what a -1 stands for, the exporter finds slowly or not at all.
    """

    side: int  # of a window
    batch: int
    height: int  # of the map
    width: int

    @property
    def rows(self) -> int:
        """Of windows."""
        return (self.height + self.side - 1) // self.side

    @property
    def columns(self) -> int:
        """Of windows."""
        return (self.width + self.side - 1) // self.side

    @property
    def count(self) -> int:
        """Of the windows of all images."""
        return self.batch * self.rows * self.columns

    @property
    def padded(self) -> bool:
        """Do windows reach over the map's edge? Where a graph leaves the size open, they may."""
        return not (_tiles(self.height, self.side) and _tiles(self.width, self.side))

    def split(self, map_BHWC: Tensor) -> Tensor:
        """(B * windows, N, C)."""
        channels = map_BHWC.shape[-1]
        if self.padded:
            below, right = self.rows * self.side - self.height, self.columns * self.side - self.width
            map_BHWC = functional.pad(map_BHWC, (0, 0, 0, right, 0, below))
        cut = map_BHWC.reshape(self.batch, self.rows, self.side, self.columns, self.side, channels)
        return cut.transpose(2, 3).reshape(self.count, self.side * self.side, channels)

    def merge(self, windows_WNC: Tensor) -> Tensor:
        """The map (B, H, W, C) again, the padding cut off."""
        channels = windows_WNC.shape[-1]
        cut = windows_WNC.reshape(self.batch, self.rows, self.columns, self.side, self.side, channels)
        height, width = self.rows * self.side, self.columns * self.side
        map_BHWC = cut.transpose(2, 3).reshape(self.batch, height, width, channels)
        return map_BHWC[:, : self.height, : self.width] if self.padded else map_BHWC

    def each(self, query_BhNd: Tensor) -> Tensor:
        """(W, heads, N, d): an image's query once for each of its windows."""
        shape = query_BhNd.shape[1:]
        repeated = query_BhNd[:, None].expand(self.batch, self.rows * self.columns, *shape)
        return repeated.reshape(self.count, *shape)

    def hidden_keys(self, like: Tensor) -> Tensor | None:
        """(W, 1, 1, N) to add to attention scores: -infinity where a key is padding; None where none is."""
        if not self.padded:
            return None
        inside_BHW1 = torch.ones(self.batch, self.height, self.width, 1, dtype=like.dtype, device=like.device)
        return self.split(inside_BHW1).log().reshape(self.count, 1, 1, self.side * self.side)


def _tiles(length: int, side: int) -> bool:
    return isinstance(length, int) and length % side == 0
