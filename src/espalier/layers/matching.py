"""Which query answers for which labelled object: the cheapest one-to-one assignment (Carion et al., 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from espalier.errors import WorkError
from espalier.layers.boxes import generalized_iou, to_corners
from espalier.layers.unsaid import Unsaid

ALPHA, GAMMA = 0.25, 2.0  # of the focal loss (Lin et al., 2017), in the matching costs and in the loss


@dataclass(frozen=True)
class Objects:
    """The labelled objects of one picture: n class ids, and boxes cx, cy, w, h relative to the picture.

    `unsaid` is what the labels say nothing of, None where they say everything.
    """

    class_N: Tensor
    box_N4: Tensor
    unsaid: Unsaid | None = None


@dataclass(frozen=True)
class Match:
    """Queries and the objects that they answer for, row by row."""

    query_N: Tensor
    object_N: Tensor


@dataclass(frozen=True)
class Costs:
    """What a wrong class, a distance and a poor overlap cost in the matching."""

    class_: float = 2.0
    l1: float = 5.0
    giou: float = 2.0


@torch.no_grad()
def match(
    logits_BQC: Tensor, box_BQ4: Tensor, objects: Sequence[Objects], *, costs: Costs, giou_eps: float
) -> list[Match]:
    """The cheapest assignment of each picture. With more objects than queries the dearest objects stay without one."""
    matches = []
    for logits_QC, box_Q4, each in zip(logits_BQC, box_BQ4, objects):
        cost = _cost(logits_QC, box_Q4, each, costs, giou_eps).cpu()
        if not torch.isfinite(cost).all():
            raise WorkError("the network's boxes or scores became NaN or infinite, so they can't be matched to objects")
        query, labelled = linear_sum_assignment(cost.numpy())
        matches.append(Match(torch.as_tensor(query).to(box_Q4.device), torch.as_tensor(labelled).to(box_Q4.device)))
    return matches


def _cost(logits_QC: Tensor, box_Q4: Tensor, each: Objects, costs: Costs, giou_eps: float) -> Tensor:
    """(Q, N)."""
    share = logits_QC.float().sigmoid()
    right = ALPHA * (1 - share) ** GAMMA * -(share + 1e-8).log()
    wrong = (1 - ALPHA) * share**GAMMA * -(1 - share + 1e-8).log()
    class_QN = (right - wrong)[:, each.class_N]
    box = box_Q4.float()
    l1_QN = torch.cdist(box, each.box_N4, p=1)
    giou_QN = generalized_iou(to_corners(box)[:, None], to_corners(each.box_N4)[None], eps=giou_eps)
    return costs.class_ * class_QN + costs.l1 * l1_QN - costs.giou * giou_QN
