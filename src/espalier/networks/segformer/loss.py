"""What a segmenter minimises, by its spec."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from espalier.layers.segmentation_loss import PixelLoss, pixel_losses
from espalier.networks import class_weights
from espalier.networks.segformer.spec import SegmentationLossSpec


class SegmentationLoss(nn.Module):
    """Losses of every labelled pixel of the network's input."""

    weight_C: Tensor | None

    def __init__(self, spec: SegmentationLossSpec, classes: Sequence[str]) -> None:
        super().__init__()
        self.settings = PixelLoss(spec.kind, spec.over, spec.focus, spec.hard_below, spec.hard_share, spec.dice_weight)
        given = class_weights.numbers(spec.class_weights, classes)
        weight_C = None if given is None else torch.tensor(given, dtype=torch.float32)
        self.register_buffer("weight_C", weight_C, persistent=False)

    def forward(self, logits_BChw: Tensor, class_BHW: Tensor) -> dict[str, Tensor]:
        """The terms and their total."""
        return pixel_losses(logits_BChw, class_BHW, self.settings, self.weight_C)
