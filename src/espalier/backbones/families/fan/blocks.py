"""FAN's block: attention over tokens, then over channels."""

from __future__ import annotations

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional

from espalier.backbones.families.fan.scaled import ScaledDepthwise, ScaledLinear


class FanBlock(nn.Module):
    """(B, H, W, C) to the same: x + s₁ · token attention, then x + s₂ · channel attention, each of the normed x."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.token_norm = nn.LayerNorm(width, eps=1e-6)
        self.token_attention = TokenAttention(width, heads)
        self.token_scale = nn.Parameter(torch.ones(width))
        self.channel_norm = nn.LayerNorm(width, eps=1e-6)
        self.channel_attention = ChannelAttention(width, heads)
        self.channel_scale = nn.Parameter(torch.ones(width))
        self.drop = DropPath(0.0)

    def forward(self, map_BHWC: Tensor) -> Tensor:
        """The tokens, still in their rows and columns."""
        map_BHWC = map_BHWC + self.drop(self.token_attention(self.token_norm(map_BHWC), self.token_scale))
        value_BHWC, gate_B11C = self.channel_attention(self.channel_norm(map_BHWC))
        return torch.addcmul(map_BHWC, self.drop(self.channel_scale * gate_B11C), value_BHWC)


class TokenAttention(nn.Module):
    """(B, H, W, C) to the same: each token asks every token; what it is told is scaled channel by channel."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.project = ScaledLinear(width, width)

    def forward(self, map_BHWC: Tensor, scale_C: Tensor) -> Tensor:
        """What the tokens were told, times the scale."""
        tokens_BNC = map_BHWC.flatten(1, 2)
        query_BhNd = self.query(tokens_BNC).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key_BhNd, value_BhNd = self.key_value(tokens_BNC).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        told_BhNd = functional.scaled_dot_product_attention(query_BhNd, key_BhNd, value_BhNd)
        told: Tensor = self.project(told_BhNd.transpose(1, 2).flatten(2), scale_C)
        return told.view(map_BHWC.shape)


class ChannelAttention(nn.Module):
    """(B, H, W, C) to a value for each token, and a gate (B, 1, 1, C) for each channel, the same at all tokens.

    Their product is left to the residual sum, which does both in one pass.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.value = LocalMlp(width)
        self.value_norm = nn.LayerNorm(width, eps=1e-5)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))

    def forward(self, map_BHWC: Tensor) -> tuple[Tensor, Tensor]:
        """The values and the gates."""
        return self.value_norm(self.value(map_BHWC)), self.gate(map_BHWC.flatten(1, 2))

    def gate(self, tokens_BNC: Tensor) -> Tensor:
        """(B, 1, 1, C): temperature · sigmoid(Σ over tokens of softmax(query) · mean over the head of softmax(key)).

        The key is the input itself. Both softmax run over the tokens. Since keys enter by their head's mean alone, no
        matrix of channels by channels is made.
        """
        heads = (self.temperature.shape[0], -1)
        query_BNhd = self.query(tokens_BNC).softmax(dim=1).unflatten(-1, heads)
        key_BNh = torch.unflatten(tokens_BNC.softmax(dim=1), -1, heads).mean(dim=-1)
        agreement_Bhd = (query_BNhd * key_BNh[..., None]).sum(dim=1)  # quicker than as many small matrix products
        gate_Bhd: Tensor = self.temperature[:, 0] * agreement_Bhd.sigmoid()
        return gate_Bhd.flatten(1)[:, None, None]


class LocalMlp(nn.Module):
    """(B, H, W, C) to the same: wider, plus what the neighbourhood says, and back. No activation but the local one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 4 * width)
        self.local = LocalMix(4 * width)
        self.scale = nn.Parameter(torch.ones(4 * width))
        self.reduce = nn.Linear(4 * width, width)

    def forward(self, map_BHWC: Tensor) -> Tensor:
        """The values."""
        wide_BHWD = self.expand(map_BHWC)
        value: Tensor = self.reduce(self.local(wide_BHWD, self.scale).add_(wide_BHWD))
        return value


class LocalMix(nn.Module):
    """(B, H, W, D) to the same: depthwise 3×3, GELU, batch norm, depthwise 3×3.

    Tokens in rows and columns are a channels-last map already, so no copy is made for the convolutions.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.BatchNorm2d(width)
        self.second = ScaledDepthwise(width)

    def forward(self, map_BHWD: Tensor, scale_D: Tensor) -> Tensor:
        """What the neighbours of each token say, times the scale."""
        mixed: Tensor = self.second(self.norm(functional.gelu(self.first(map_BHWD.permute(0, 3, 1, 2)))), scale_D)
        return mixed.permute(0, 2, 3, 1)
