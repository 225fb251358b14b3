"""What the classifier minimises."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from espalier.layers.losses import soft_binary_cross_entropy, soft_cross_entropy
from espalier.networks import class_weights
from espalier.networks.classifier.spec import LossSpec


class ClassifierLoss(nn.Module):
    """Cross entropy over soft targets, or binary cross entropy when a picture may have several labels."""

    weight_C: Tensor | None

    def __init__(self, spec: LossSpec, classes: Sequence[str], *, multi_label: bool) -> None:
        super().__init__()
        self.smoothing = spec.label_smoothing
        self.multi_label = multi_label
        self.register_buffer("weight_C", _weights(spec, classes), persistent=False)

    def forward(self, logits_BC: Tensor, target_BC: Tensor) -> Tensor:
        """The scalar loss."""
        if self.multi_label:
            return soft_binary_cross_entropy(
                logits_BC, target_BC, smoothing=self.smoothing, positive_weight_C=self.weight_C
            )
        return soft_cross_entropy(logits_BC, target_BC, smoothing=self.smoothing, weight_C=self.weight_C)


def _weights(spec: LossSpec, classes: Sequence[str]) -> Tensor | None:
    """The class weights; None for none."""
    given = class_weights.numbers(spec.class_weights, classes)
    return None if given is None else torch.tensor(given, dtype=torch.float32)
