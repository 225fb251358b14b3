"""The layers of a transformer over several levels with deformable attention (Zhu et al., 2020): all post-norm."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from espalier.layers.boxes import inverse_sigmoid
from espalier.layers.deformable_attention import DeformableAttention, Size
from espalier.layers.levels import Tokens


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between, added to their input and normed."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, stream: Tensor) -> Tensor:
        """The stream, changed."""
        change: Tensor = self.linear2(self.dropout(functional.relu(self.linear1(stream))))
        normed: Tensor = self.norm(stream + self.dropout(change))
        return normed


class SelfAttention(nn.Module):
    """Every query sees every other; positions are added to queries and keys, not to values."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, stream_BQC: Tensor, position_BQC: Tensor, blocked_QQ: Tensor | None) -> Tensor:
        """(B, Q, C). `blocked_QQ` is true where a query (row) may not see another (column)."""
        width = stream_BQC.shape[-1]
        weights, biases = (torch.split(p, [2 * width, width]) for p in (self.in_proj_weight, self.in_proj_bias))
        query, key = functional.linear(stream_BQC + position_BQC, weights[0], biases[0]).chunk(2, -1)
        value = functional.linear(stream_BQC, weights[1], biases[1])
        seen = functional.scaled_dot_product_attention(
            self._headed(query),
            self._headed(key),
            self._headed(value),
            attn_mask=None if blocked_QQ is None else ~blocked_QQ,
            dropout_p=self.dropout if self.training else 0.0,
        )
        out: Tensor = self.out_proj(seen.transpose(1, 2).flatten(2))
        return out

    def _headed(self, tokens_BQC: Tensor) -> Tensor:
        return tokens_BQC.reshape(*tokens_BQC.shape[:2], self.heads, -1).transpose(1, 2)


class EncoderLayer(nn.Module):
    """Each token looks around its own place on every level."""

    def __init__(self, width: int, hidden: int, *, heads: int, levels: int, points: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(width, heads=heads, levels=levels, points=points)
        self.norm1 = nn.LayerNorm(width)
        self.ffn = FeedForward(width, hidden, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, stream_BNC: Tensor, tokens: Tokens, reference_BNL2: Tensor) -> Tensor:
        """The stream, changed."""
        query = stream_BNC + tokens.position_BNC
        seen = self.self_attn(query, reference_BNL2, stream_BNC, tokens.sizes_hw, tokens.padded_BN)
        changed: Tensor = self.ffn(self.norm1(stream_BNC + self.dropout(seen)))
        return changed


class Encoder(nn.Module):
    """A stack of encoder layers over the tokens."""

    def __init__(
        self, depth: int, width: int, hidden: int, *, heads: int, levels: int, points: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(width, hidden, heads=heads, levels=levels, points=points, dropout=dropout)
            for _ in range(depth)
        )
        self.checkpointing = False

    def forward(self, tokens: Tokens) -> Tensor:
        """(B, N, C): the memory."""
        reference = cell_centres(tokens.sizes_hw, tokens.valid_ratio_BL2)
        stream = tokens.value_BNC
        for layer in self.layers:
            if self.checkpointing and self.training:
                stream = checkpoint(layer, stream, tokens, reference, use_reentrant=False)
            else:
                stream = layer(stream, tokens, reference)
        return stream


class DecoderLayer(nn.Module):
    """Queries see each other, then the memory around their reference."""

    def __init__(self, width: int, hidden: int, *, heads: int, levels: int, points: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = SelfAttention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width)
        self.cross_attn = DeformableAttention(width, heads=heads, levels=levels, points=points)
        self.norm1 = nn.LayerNorm(width)
        self.ffn = FeedForward(width, hidden, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        stream_BQC: Tensor,
        position_BQC: Tensor,
        reference_BQLx: Tensor,
        memory_BNC: Tensor,
        tokens: Tokens,
        blocked_QQ: Tensor | None = None,
    ) -> Tensor:
        """The stream, changed."""
        seen = self.self_attn(stream_BQC, position_BQC, blocked_QQ)
        stream = self.norm2(stream_BQC + self.dropout(seen))
        query = stream + position_BQC
        found = self.cross_attn(query, reference_BQLx, memory_BNC, tokens.sizes_hw, tokens.padded_BN)
        changed: Tensor = self.ffn(self.norm1(stream + self.dropout(found)))
        return changed


class Perceptron(nn.Module):
    """Linear layers with ReLU between."""

    def __init__(self, width_in: int, width: int, width_out: int, depth: int) -> None:
        super().__init__()
        widths = [width_in, *[width] * (depth - 1), width_out]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, value: Tensor) -> Tensor:
        """The last layer's output."""
        for layer in list(self.layers)[:-1]:
            value = functional.relu(layer(value))
        out: Tensor = self.layers[-1](value)
        return out


def cell_centres(sizes_hw: Sequence[Size], valid_ratio_BL2: Tensor) -> Tensor:
    """(B, N, L, 2): each cell's centre as a share of the valid picture, on every level's own map."""
    centres = []
    for level, (height, width) in enumerate(sizes_hw):
        ratio = valid_ratio_BL2[:, level]
        y = _steps(height, ratio) / (ratio[:, 1:] * height)
        x = _steps(width, ratio) / (ratio[:, :1] * width)
        centres.append(torch.stack(_crossed(y, x), -1).flatten(1, 2))
    return torch.cat(centres, 1)[:, :, None] * valid_ratio_BL2[:, None]


def proposals(tokens: Tokens, memory_BNC: Tensor) -> tuple[Tensor, Tensor]:
    """Box logits (B, N, 4) that each token starts from, and the memory, zeroed where a token proposes nothing.

    A cell proposes a box at its centre of 0.05 · 2^level; with a number outside 0.01-0.99, or on padding, it proposes
    nothing and its logits are infinite.
    """
    boxes, start = [], 0
    for level, (height, width) in enumerate(tokens.sizes_hw):
        padded = tokens.padded_BN[:, start : start + height * width].reshape(-1, height, width)
        start += height * width
        valid_y, valid_x = (~padded[:, :, 0]).sum(1, keepdim=True), (~padded[:, 0]).sum(1, keepdim=True)
        y, x = _steps(height, memory_BNC) / valid_y, _steps(width, memory_BNC) / valid_x
        centre = torch.stack(_crossed(y, x), -1).flatten(1, 2)
        boxes.append(torch.cat([centre, torch.full_like(centre, 0.05 * 2.0**level)], -1))
    box = torch.cat(boxes, 1)
    none = ~((box > 0.01) & (box < 0.99)).all(-1, keepdim=True) | tokens.padded_BN[..., None]
    logits = torch.log(box / (1 - box)).masked_fill(none, float("inf"))
    return logits, memory_BNC.masked_fill(none, 0.0)


def best_tokens(score_BN: Tensor, count: int) -> Tensor:
    """(B, count): the places of the highest scores, highest first."""
    return score_BN.topk(count, dim=1).indices


def refined(change: Tensor, reference: Tensor, *, eps: float) -> Tensor:
    """The box (cx, cy, w, h) that `change` makes of a reference point or box; a point moves the centre only."""
    logits = inverse_sigmoid(reference, eps=eps)
    if reference.shape[-1] == 2:
        logits = functional.pad(logits, (0, 2))
    return (change + logits).sigmoid()


def on_levels(reference_BQx: Tensor, valid_ratio_BL2: Tensor) -> Tensor:
    """(B, Q, L, x): a point or box of the valid picture as one of each level's whole map."""
    ratio = valid_ratio_BL2 if reference_BQx.shape[-1] == 2 else torch.cat([valid_ratio_BL2, valid_ratio_BL2], -1)
    return reference_BQx[:, :, None] * ratio[:, None]


def _steps(count: int, like: Tensor) -> Tensor:
    """(count,): 0.5, 1.5, …"""
    return torch.arange(count, dtype=like.dtype, device=like.device) + 0.5


def _crossed(y_BH: Tensor, x_BW: Tensor) -> list[Tensor]:
    """x and y of each cell, (B, H, W) each."""
    shape = (y_BH.shape[0], y_BH.shape[1], x_BW.shape[1])
    return [x_BW[:, None, :].expand(shape), y_BH[:, :, None].expand(shape)]
