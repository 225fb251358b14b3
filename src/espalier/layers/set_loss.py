"""The loss of predictions against labelled objects: focal, L1 and GIoU (Carion et al., 2020; Zhu et al., 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from espalier.layers.boxes import generalized_iou, to_corners
from espalier.layers.matching import ALPHA, GAMMA, Match, Objects
from espalier.layers.processes import mean_over_processes
from espalier.layers.unsaid import silent

FIT_POWER = 1.5  # DEIM's γ
LEAST_FIT = 1e-3  # what is to be found is never nothing


def set_losses(
    logits_BQC: Tensor,
    box_BQ4: Tensor,
    objects: Sequence[Objects],
    matches: Sequence[Match],
    *,
    divisor: float,
    giou_eps: float,
    fitted: bool = False,
) -> dict[str, Tensor]:
    """The terms `class`, `l1` and `giou`, each summed and divided by `divisor`.

    Unmatched queries are background, but for the classes that the labels say nothing of there. `fitted`: a score is to
    say how well its box fits, not only that something is there.
    """
    image = torch.cat([torch.full_like(m.query_N, n) for n, m in enumerate(matches)])
    query = torch.cat([m.query_N for m in matches])
    labels = torch.cat([o.class_N[m.object_N] for o, m in zip(objects, matches)])
    hot = torch.zeros_like(logits_BQC)
    wanted = torch.cat([o.box_N4[m.object_N] for o, m in zip(objects, matches)])
    given = box_BQ4[image, query]
    unsaid_BQC = silent(box_BQ4, [o.unsaid for o in objects], logits_BQC.shape[-1])
    giou = generalized_iou(to_corners(given), to_corners(wanted), eps=giou_eps)
    hot[image, query, labels] = giou.detach().clamp(LEAST_FIT, 1).to(hot.dtype) if fitted else 1.0
    class_sum = fitted_sum if fitted else focal_sum
    return {
        "class": class_sum(logits_BQC, hot, unsaid_BQC) / divisor,
        "l1": functional.l1_loss(given, wanted, reduction="sum") / divisor,
        "giou": (1 - giou).sum() / divisor,
    }


def focal_sum(logits: Tensor, target: Tensor, unsaid: Tensor | None = None) -> Tensor:
    """Sigmoid focal loss, summed (Lin et al., 2017, eq. 5); no loss where `unsaid` is true and the target 0."""
    plain = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    share = logits.sigmoid()
    sure = share * target + (1 - share) * (1 - target)
    weight = ALPHA * target + (1 - ALPHA) * (1 - target)
    loss = weight * (1 - sure) ** GAMMA * plain
    return loss.sum() if unsaid is None else loss.masked_fill(unsaid & (target == 0), 0).sum()


def fitted_sum(logits: Tensor, fit: Tensor, unsaid: Tensor | None = None) -> Tensor:
    """Matchability-aware loss, summed (Huang et al., "DEIM", 2024, eq. 5): `fit` is 0 where nothing is to be found.

    No loss where `unsaid` is true and nothing is to be found.
    """
    plain = functional.binary_cross_entropy_with_logits(logits, fit**FIT_POWER, reduction="none")
    weight = torch.where(fit > 0, 1.0, logits.detach().sigmoid() ** FIT_POWER)
    loss = weight * plain
    return loss.sum() if unsaid is None else loss.masked_fill(unsaid & (fit == 0), 0).sum()


def object_count(objects: Sequence[Objects]) -> float:
    """The labelled objects of the batch, the mean over all processes, at least 1."""
    count = float(sum(len(each.class_N) for each in objects))
    return max(float(mean_over_processes(torch.tensor(count, device=objects[0].box_N4.device))), 1.0)
