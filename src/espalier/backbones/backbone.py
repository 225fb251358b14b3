"""The encoder as a module: what every family of encoders gives, whatever is inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from espalier.backbones.facts import BackboneFacts
from espalier.errors import InputError, Problem


class Backbone(nn.Module):
    """An encoder: an image (B, channels_in, H, W) to a list of tensors, channels first.

    `out` says what the list holds: 'embedding' the pooled vector (B, C) that the published classifier sees, 'features'
    the last map (B, C, H/s, W/s), 'pyramid' a map for each of `strides`, 'dense' the maps that the published dense
    models of the family see (the pyramid, where they see that). A family defines a method for each; parts that an
    `out` doesn't need are not built, so that every parameter gets a gradient.
    """

    free_size: bool = True
    """May height and width stay free in an exported graph?"""

    def __init__(self, facts: BackboneFacts, out: str) -> None:
        super().__init__()
        self.facts = facts
        self.out = out
        self.channels, self.strides = _sizes(facts, out)

    def forward(self, image_BCHW: Tensor) -> list[Tensor]:
        """The vector, the map or the maps that this encoder was created for."""
        if self.out == "embedding":
            return [self.embedding(image_BCHW)]
        if self.out == "features":
            return [self.features(image_BCHW)]
        return self.pyramid(image_BCHW) if self.out == "pyramid" else self.dense(image_BCHW)

    def embedding(self, image_BCHW: Tensor) -> Tensor:
        """(B, C): the vector that the published classifier sees."""
        raise NotImplementedError(f"{type(self).__name__} must define embedding")

    def features(self, image_BCHW: Tensor) -> Tensor:
        """(B, C, H/s, W/s): the last map."""
        raise NotImplementedError(f"{type(self).__name__} must define features")

    def pyramid(self, image_BCHW: Tensor) -> list[Tensor]:
        """A map for each stride, fine to coarse."""
        raise NotImplementedError(f"{type(self).__name__} must define pyramid")

    def dense(self, image_BCHW: Tensor) -> list[Tensor]:
        """The maps that published dense models of the family see."""
        return self.pyramid(image_BCHW)

    def drop_unused(self, levels: Sequence[int]) -> None:
        """Drops the parts that only other maps than these need, so that every parameter gets a gradient."""

    def checkpoint_activations(self, on: bool) -> None:
        """Compute blocks again in the backward pass instead of keeping their activations: less memory, more time."""
        raise NotImplementedError(f"{type(self).__name__} must define checkpoint_activations")

    def drop_paths(self, rate: float) -> None:
        """Stochastic depth in training: the share of pictures that skip a residual branch, at most `rate`.

        How it is spread over the blocks is the family's published way. Raises InputError where there is none to set.
        """
        if rate:
            where, what = "network.backbone.drop_path", f"{self.facts.name} has no stochastic depth that can be set"
            raise InputError(Problem(where, what, "0", "leave the field out, or take one of the house's transformers"))

    def adopt(self, tensors: Mapping[str, Tensor]) -> None:
        """Fills the encoder with published tensors under its own names; an input layer adapts to the bands.

        Raises ModelError for a tensor that doesn't fit.
        """
        raise NotImplementedError(f"{type(self).__name__} must define adopt")


def _sizes(facts: BackboneFacts, out: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if out == "embedding":
        return (facts.embedding,), ()
    if out == "features":
        return (facts.feature_channels,), (facts.feature_stride,)
    if out == "dense" and facts.dense_channels:
        return facts.dense_channels, facts.dense_strides
    return facts.channels, facts.strides
