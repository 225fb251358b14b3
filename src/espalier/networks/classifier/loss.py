"""What the classifier minimises."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from espalier.errors import Problem, SpecError
from espalier.layers.losses import soft_binary_cross_entropy, soft_cross_entropy
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
    """The class weights; None for none. 'balanced' must have been resolved into numbers by then."""
    given = spec.class_weights
    where = "network.loss.class_weights"
    if given == "none":
        return None
    if isinstance(given, str):
        raise SpecError(
            Problem(where, "'balanced' needs the data's class counts", fix="resolve the spec with the data")
        )
    if len(given) != len(classes):
        raise SpecError(
            Problem(
                where,
                f"has {len(given)} numbers for {len(classes)} classes",
                fix="give one number a class, in the order of data.classes",
            )
        )
    if min(given) < 0 or max(given) == 0:
        raise SpecError(Problem(where, "must be positive numbers (0 ignores a class, but not all of them)"))
    return torch.tensor(given, dtype=torch.float32)
