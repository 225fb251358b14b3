"""A block of MiT: attention over fewer keys, then a feed-forward that looks at its neighbours."""

from __future__ import annotations

from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional

BLOCK_EPS = 1e-6  # of the blocks' norms and the stages'
EMBED_EPS = 1e-5  # of the patches' norm and the fewer keys'


class Attention(nn.Module):
    """Every position asks; a key stands for `reduction` by `reduction` positions (section 3.1, eq. 2).

    Rows and columns beyond the last full square of a map have no key, as published.
    """

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.project = nn.Linear(width, width)
        self.reduce: nn.Conv2d | None = None
        if reduction > 1:
            self.reduce = nn.Conv2d(width, width, reduction, stride=reduction)
            self.norm = nn.LayerNorm(width, eps=EMBED_EPS)

    def forward(self, map_BHWC: Tensor) -> Tensor:
        """The map, of the same size."""
        query = self._by_head(self.query(map_BHWC).flatten(1, 2))
        key, value = map(self._by_head, self.key_value(self._fewer(map_BHWC)).flatten(1, 2).chunk(2, dim=-1))
        mixed_BhNd = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.project(mixed_BhNd.transpose(1, 2).flatten(2))
        return out.reshape(map_BHWC.shape)

    def _fewer(self, map_BHWC: Tensor) -> Tensor:
        if self.reduce is None:
            return map_BHWC
        fewer: Tensor = self.norm(self.reduce(map_BHWC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return fewer

    def _by_head(self, tokens_BNC: Tensor) -> Tensor:
        batch, tokens, width = tokens_BNC.shape
        return tokens_BNC.reshape(batch, tokens, self.heads, width // self.heads).transpose(1, 2)


class MixFeedForward(nn.Module):
    """Two layers at every position and a depthwise 3×3 convolution between them, which tells where a position is."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.shrink = nn.Linear(hidden, width)

    def forward(self, map_BHWC: Tensor) -> Tensor:
        """The map, of the same size."""
        wide_BCHW = self.depthwise(self.expand(map_BHWC).permute(0, 3, 1, 2))
        mixed: Tensor = self.shrink(functional.gelu(wide_BCHW.permute(0, 2, 3, 1)))
        return mixed


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, width: int, heads: int, reduction: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width, eps=BLOCK_EPS)
        self.attention = Attention(width, heads, reduction)
        self.norm_mix = nn.LayerNorm(width, eps=BLOCK_EPS)
        self.mix = MixFeedForward(width, mlp_ratio * width)
        self.drop = DropPath()

    def forward(self, map_BHWC: Tensor) -> Tensor:
        """The map, of the same size."""
        map_BHWC = map_BHWC + self.drop(self.attention(self.norm_attention(map_BHWC)))
        out: Tensor = map_BHWC + self.drop(self.mix(self.norm_mix(map_BHWC)))
        return out
