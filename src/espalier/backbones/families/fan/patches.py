"""From a picture to tokens at stride 16, by convolutions."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from espalier.backbones.families.fan.convnext import ConvNext, padded


class ConvPatches(nn.Module):
    """(B, bands, H, W) to (B, H/16, W/16, C): four 3×3 convolutions of stride 2, each with its batch norm.

    A size that is no multiple of 16 rounds up: their own padding does that.
    """

    def __init__(self, channels_in: int, width: int) -> None:
        super().__init__()
        widths = [channels_in, width // 8, width // 4, width // 2, width]
        self.convs = nn.ModuleList(ConvNorm(before, after) for before, after in pairwise(widths))

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """The tokens in their rows and columns; no activation after the last convolution."""
        map_BCHW: Tensor = self.convs[0](image_BCHW)
        for conv in self.convs[1:]:
            map_BCHW = conv(functional.gelu(map_BCHW))
        return map_BCHW.permute(0, 2, 3, 1)

    def levels(self, image_BCHW: Tensor) -> tuple[list[Tensor], Tensor]:
        """No finer maps, and the tokens."""
        return [], self(image_BCHW)


class ConvNorm(nn.Module):
    """A 3×3 convolution of stride 2 and its batch norm."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Half the size, rounded up."""
        halved: Tensor = self.norm(self.conv(map_BCHW))
        return halved


class ConvNextPatches(nn.Module):
    """(B, bands, H, W) to (B, H/16, W/16, C): two ConvNeXt stages, then a 2×2 convolution of stride 2."""

    def __init__(self, channels_in: int, width: int, *, widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
        super().__init__()
        self.convnext = ConvNext(channels_in, widths, depths)
        self.project = nn.Conv2d(widths[-1], width, 2, stride=2)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """The tokens in their rows and columns."""
        return self._tokens(self.convnext.last(image_BCHW))

    def levels(self, image_BCHW: Tensor) -> tuple[list[Tensor], Tensor]:
        """The stages' maps (B, C, H, W), and the tokens."""
        maps: list[Tensor] = self.convnext(image_BCHW)
        return maps, self._tokens(maps[-1])

    def _tokens(self, map_BCHW: Tensor) -> Tensor:
        tokens_BCHW: Tensor = self.project(padded(map_BCHW, 2))
        return tokens_BCHW.permute(0, 2, 3, 1)
