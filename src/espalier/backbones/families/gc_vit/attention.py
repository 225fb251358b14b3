"""Attention inside windows, and of all windows to one query of the whole picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from espalier.backbones.families.gc_vit.sizes import HEAD_WIDTH
from espalier.backbones.families.gc_vit.windows import Windows


class WindowAttention(nn.Module):
    """Attention among the positions of a window, with a learnt bias for each distance (Liu et al., 2021, Swin)."""

    asks = 3  # queries, keys and values come from the window
    index_NN: Tensor

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.heads = channels // HEAD_WIDTH
        self.positions = side * side
        self.bias_table = nn.Parameter(torch.zeros((2 * side - 1) ** 2, self.heads))
        self.register_buffer("index_NN", relative_position_index(side), persistent=False)
        self.qkv = nn.Linear(channels, self.asks * channels)
        self.project = nn.Linear(channels, channels)
        nn.init.trunc_normal_(self.bias_table, std=0.02)

    def forward(self, map_BHWC: Tensor, windows: Windows, query_WhNd: Tensor, hidden: Tensor | None) -> Tensor:
        """The map (B, H, W, C). `query_WhNd` is for windows that attend globally."""
        q, k, v = self._asked(self._heads(windows.split(map_BHWC)), query_WhNd)
        mixed_WhNd = attend(q, k, v, self._bias(hidden))
        mixed: Tensor = self.project(windows.merge(mixed_WhNd.transpose(1, 2).flatten(2)))
        return mixed

    def _asked(self, qkv: tuple[Tensor, ...], query_WhNd: Tensor) -> tuple[Tensor, ...]:
        return qkv

    def _heads(self, windows_WNC: Tensor) -> tuple[Tensor, ...]:
        """`asks` tensors (W, heads, N, d)."""
        each: Tensor = self.qkv(windows_WNC).unflatten(-1, (self.asks, self.heads, HEAD_WIDTH))
        return each.permute(2, 0, 3, 1, 4).unbind(0)

    def _bias(self, hidden: Tensor | None) -> Tensor:
        """(W or 1, heads, N, N): by distance, and what hides padded keys."""
        # twice as fast along the last axis, backward four times
        bias_hNN = self.bias_table.t().contiguous().index_select(1, self.index_NN.flatten())
        bias_hNN = bias_hNN.view(self.heads, *self.index_NN.shape)
        return bias_hNN[None] if hidden is None else bias_hNN + hidden


class GlobalAttention(WindowAttention):
    """The same, but every window of an image is asked by the image's one query; it gives keys and values only."""

    asks = 2

    def _asked(self, qkv: tuple[Tensor, ...], query_WhNd: Tensor) -> tuple[Tensor, ...]:
        return query_WhNd, *qkv


def attend(q_WhNd: Tensor, k_WhNd: Tensor, v_WhNd: Tensor, bias_WhNN: Tensor) -> Tensor:
    """(W, heads, N, d): the values that each query sees, mixed."""
    if bias_WhNN.requires_grad and bias_WhNN.device.type == "cpu":
        # the CPU's fused kernel has no gradient for a bias, and what PyTorch does instead is slower than these steps
        scores_WhNN = torch.matmul(q_WhNd * HEAD_WIDTH**-0.5, k_WhNd.transpose(-2, -1)).add_(bias_WhNN)
        return torch.matmul(scores_WhNN.softmax(dim=-1), v_WhNd)
    return functional.scaled_dot_product_attention(q_WhNd, k_WhNd, v_WhNd, attn_mask=bias_WhNN)


def relative_position_index(side: int) -> Tensor:
    """(N, N): the row of the bias table for a query (first axis) and a key (second axis) of a window, row by row.

    Rows of the table stand for (y, x) distances from -(side - 1) to side - 1, x fastest.
    """
    y = torch.arange(side).repeat_interleave(side)
    x = torch.arange(side).repeat(side)
    distance_y = y[:, None] - y[None, :] + side - 1
    distance_x = x[:, None] - x[None, :] + side - 1
    return distance_y * (2 * side - 1) + distance_x
