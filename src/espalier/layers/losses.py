"""Losses shared by networks, all of them over soft targets so that mixup, cutmix and smoothing need no second form."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def soft_cross_entropy(
    logits_BC: Tensor, target_BC: Tensor, *, smoothing: float = 0.0, weight_C: Tensor | None = None
) -> Tensor:
    """The mean cross entropy against target distributions; a scalar.

    `smoothing` mixes the uniform distribution in. `weight_C` weights the classes; the mean is then over the weight of
    the targets, as in `torch.nn.functional.cross_entropy` with class indices, whose value this is for one-hot targets.
    """
    log_p_BC = functional.log_softmax(logits_BC.float(), dim=1)
    target_BC = target_BC.to(log_p_BC.dtype)
    smooth_BC = (1 - smoothing) * target_BC + smoothing / logits_BC.shape[1]
    if weight_C is None:
        return -(smooth_BC * log_p_BC).sum(dim=1).mean()
    weight_C = weight_C.to(log_p_BC)
    total = (target_BC * weight_C).sum().clamp_min(torch.finfo(log_p_BC.dtype).tiny)
    return -(weight_C * smooth_BC * log_p_BC).sum() / total


def soft_binary_cross_entropy(
    logits_BC: Tensor, target_BC: Tensor, *, smoothing: float = 0.0, positive_weight_C: Tensor | None = None
) -> Tensor:
    """The mean binary cross entropy of independent labels; a scalar.

    `smoothing` pulls targets towards one half. `positive_weight_C` weights the positives of each class.
    """
    smooth_BC = (1 - smoothing) * target_BC.float() + smoothing / 2
    weight = None if positive_weight_C is None else positive_weight_C.to(smooth_BC)
    return functional.binary_cross_entropy_with_logits(logits_BC.float(), smooth_BC, pos_weight=weight)
