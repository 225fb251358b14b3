"""FAN's last blocks: the class token asks the patches (Touvron et al., CaiT, 2021, arXiv 2103.17239; normed tokens).

Two things are unusual, and published weights need them: the normed tokens are the stream from there on, and the last
sum adds the patches to themselves.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class PatchBlock(nn.Module):
    """(…, C) to the same: what a class block does to patches. It has only the tensors that patches meet."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input_norm = nn.LayerNorm(width, eps=1e-6)
        self.attention_scale = nn.Parameter(torch.ones(width))
        self.stream_norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, patches: Tensor) -> Tensor:
        """The patches, twice the normed stream."""
        stream: Tensor = self.stream_norm(torch.addcmul(patches, self.attention_scale, self.input_norm(patches)))
        return 2 * stream


class ClassBlock(PatchBlock):
    """(B, 1 + N, C) to the same, the class token first; with `last` to (B, 1, C), since nobody sees the patches."""

    def __init__(self, width: int, heads: int, *, last: bool) -> None:
        super().__init__(width)
        self.last = last
        self.attention = ClassAttention(width, heads)
        self.mlp = Mlp(width)
        self.mlp_scale = nn.Parameter(torch.ones(width))

    def forward(self, tokens_BNC: Tensor) -> Tensor:
        """The class token that has asked, and the patches."""
        normed_BNC = self.input_norm(tokens_BNC)
        told_B1C = self.attention(normed_BNC)
        class_B1C = self.stream_norm(torch.addcmul(tokens_BNC[:, :1], self.attention_scale, told_B1C))
        class_B1C = torch.addcmul(class_B1C, self.mlp_scale, self.mlp(class_B1C))
        if self.last:
            return class_B1C
        patches = self.stream_norm(torch.addcmul(tokens_BNC[:, 1:], self.attention_scale, normed_BNC[:, 1:]))
        return torch.cat([class_B1C, 2 * patches], dim=1)


class ClassAttention(nn.Module):
    """(B, 1 + N, C) to (B, 1, C): the first token alone asks, all are asked.

    With one query, q·(K x) = (q K)·x and Σ a (V x) = V (Σ a x): the key and value layers meet one vector a head, and
    are never applied to all tokens.

    A softmax ignores what is added to all that it compares, so the key's bias changes nothing. It enters times 0, which
    gives it the gradient that mathematics says instead of rounding, which an optimiser would take for a direction.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.project = nn.Linear(width, width)

    def forward(self, tokens_BNC: Tensor) -> Tensor:
        """What the class token was told."""
        query_Bhd = self.query(tokens_BNC[:, 0]).unflatten(-1, (self.heads, -1))
        query_Bhd = query_Bhd * query_Bhd.shape[-1] ** -0.5
        asks_BhC = torch.einsum("bhd,hdc->bhc", query_Bhd, _by_head(self.key.weight, self.heads))
        shift_Bh1 = 0 * (query_Bhd * self.key.bias.view(self.heads, -1)).sum(dim=-1, keepdim=True)
        share_BhN = (asks_BhC @ tokens_BNC.transpose(1, 2) + shift_Bh1).softmax(dim=-1)
        heard_BhC = share_BhN @ tokens_BNC
        told_Bhd = torch.einsum("bhc,hdc->bhd", heard_BhC, _by_head(self.value.weight, self.heads))
        told: Tensor = self.project(told_Bhd.flatten(1) + self.value.bias)
        return told[:, None]


def _by_head(weight: Tensor, heads: int) -> Tensor:
    return weight.view(heads, -1, weight.shape[1])


class Mlp(nn.Module):
    """Four times wider and back, GELU between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 4 * width)
        self.reduce = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """The tokens changed one by one."""
        changed: Tensor = self.reduce(functional.gelu(self.expand(tokens)))
        return changed
