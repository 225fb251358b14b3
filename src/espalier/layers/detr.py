"""What detectors with object queries share: the encoder over a backbone's maps, heads, and losses layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from espalier.layers.deformable_transformer import Perceptron
from espalier.layers.levels import Tokens
from espalier.layers.mask_head import MaskMaps
from espalier.layers.matching import Costs, Match, Objects, match
from espalier.layers.set_loss import object_count, set_losses

RARE = 0.01  # an object's share of the queries before training (Lin et al., 2017, 4.1)


@dataclass(frozen=True)
class Said:
    """One layer's answer: class logits (B, Q, C), and boxes cx, cy, w, h (B, Q, 4) relative to the valid picture.

    `stream_BQC` is what a decoder's layer says it from, for heads that say more; the encoder's own answer has none.
    """

    logits_BQC: Tensor
    box_BQ4: Tensor
    stream_BQC: Tensor | None = None

    def part(self, first: int, last: int | None) -> Said:
        """The answer of some of the queries."""
        cut = slice(first, last)
        stream = None if self.stream_BQC is None else self.stream_BQC[:, cut]
        return Said(self.logits_BQC[:, cut], self.box_BQ4[:, cut], stream)


@dataclass(frozen=True)
class Weights:
    """Of the loss terms."""

    class_: float = 2.0
    l1: float = 5.0
    giou: float = 2.0

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum."""
        return self.class_ * terms["class"] + self.l1 * terms["l1"] + self.giou * terms["giou"]


@dataclass(frozen=True)
class Criterion:
    """Matches a layer's answers to the labelled objects and scores them."""

    weights: Weights
    costs: Costs
    giou_eps: float
    fitted: bool = False  # do class scores say how well a box fits?

    def __call__(
        self, said: Said, objects: Sequence[Objects], matches: Sequence[Match] | None = None
    ) -> dict[str, Tensor]:
        """The terms `class`, `l1`, `giou`; `matches` are found unless given."""
        matches = self.matched(said, objects) if matches is None else matches
        return self.scored(said, objects, matches, object_count(objects))

    def matched(self, said: Said, objects: Sequence[Objects]) -> list[Match]:
        """Which queries answer for which objects."""
        return match(said.logits_BQC, said.box_BQ4, objects, costs=self.costs, giou_eps=self.giou_eps)

    def scored(
        self, said: Said, objects: Sequence[Objects], matches: Sequence[Match], divisor: float
    ) -> dict[str, Tensor]:
        """The terms for these matches."""
        return set_losses(
            said.logits_BQC,
            said.box_BQ4,
            objects,
            matches,
            divisor=divisor,
            giou_eps=self.giou_eps,
            fitted=self.fitted,
        )


@dataclass(frozen=True)
class Encoded:
    """The backbone's maps as tokens, and what the encoder made of them.

    `fine_BCHW` is a finer map of the backbone that a head asked for, None where there is none.
    """

    tokens: Tokens
    memory_BNC: Tensor
    padded_BHW: Tensor  # of the whole input
    fine_BCHW: Tensor | None = None

    def mask_maps(self) -> MaskMaps:
        """The memory of the finest level, and what else masks are drawn from."""
        height, width = self.tokens.sizes_hw[0]
        level_BNC = self.memory_BNC[:, : height * width]
        finest_BCHW = level_BNC.transpose(1, 2).reshape(-1, level_BNC.shape[2], height, width)
        return MaskMaps(finest_BCHW, self.fine_BCHW, self.padded_BHW)


def class_head(width: int, classes: int) -> nn.Linear:
    """Logits that say at first that objects are rare."""
    head = nn.Linear(width, classes)
    nn.init.constant_(head.bias, -math.log((1 - RARE) / RARE))
    return head


def box_head(width: int, *, size_logit: float) -> Perceptron:
    """The change of a box, at first none but for its size."""
    head = Perceptron(width, width, 4, 3)
    last = head.layers[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    nn.init.constant_(last.bias[2:], size_logit)
    return head
