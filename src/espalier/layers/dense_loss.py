"""Every cell taught as a detector of its own: several cells answer for each object.

A set loss teaches one query an object, which is little to learn from few pictures. Here the cells that suit an object
best learn it: chosen as in TOOD (Feng et al., 2021, eq. 7) by score and overlap together, and taught by the varifocal
loss (Zhang et al., 2021) how well they fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from espalier.layers.boxes import generalized_iou, iou, to_corners
from espalier.layers.matching import Objects
from espalier.layers.processes import mean_over_processes
from espalier.layers.unsaid import silent

SCORE_POWER, OVERLAP_POWER = 0.5, 4.0
BACKGROUND = 0.75  # weight of what is no object (varifocal loss)
EPS = 1e-6


@dataclass(frozen=True)
class Cells:
    """What each cell says: class logits (B, N, C) and boxes (B, N, 4); its own place x, y (B, N, 2).

    All are relative to the valid picture. A `silent` cell (B, N) says nothing.
    """

    logits_BNC: Tensor
    box_BN4: Tensor
    place_BN2: Tensor
    silent_BN: Tensor


@dataclass(frozen=True)
class Answers:
    """Of one picture: P cells, the object that each answers for, and how well it is to say that it fits, 0 to 1."""

    cell_P: Tensor
    object_P: Tensor
    fit_P: Tensor


def all_answers(said: Cells, objects: Sequence[Objects], *, most: int) -> list[Answers]:
    """Of each picture, with up to `most` cells an object."""
    return [answers_of(said, n, each, most=most) for n, each in enumerate(objects)]


def dense_losses(
    said: Cells, objects: Sequence[Objects], found: Sequence[Answers], *, giou_eps: float
) -> dict[str, Tensor]:
    """The terms `class`, `l1` and `giou` for these answers.

    They are sums over the sum of all fits, the mean over all processes, at least 1.
    """
    image = torch.cat([torch.full_like(each.cell_P, n) for n, each in enumerate(found)])
    cell = torch.cat([each.cell_P for each in found])
    labels = torch.cat([o.class_N[each.object_P] for o, each in zip(objects, found, strict=True)])
    wanted = torch.cat([o.box_N4[each.object_P] for o, each in zip(objects, found, strict=True)])
    fit = torch.cat([each.fit_P for each in found])
    target = torch.zeros_like(said.logits_BNC)
    target[image, cell, labels] = fit.to(target.dtype)
    given = said.box_BN4[image, cell]
    giou = generalized_iou(to_corners(given), to_corners(wanted), eps=giou_eps)
    divisor = mean_over_processes(fit.sum()).clamp(min=1)
    return {
        "class": _varifocal(said, target, objects) / divisor,
        "l1": (functional.l1_loss(given, wanted, reduction="none").sum(-1) * fit).sum() / divisor,
        "giou": ((1 - giou) * fit).sum() / divisor,
    }


@torch.no_grad()
def answers_of(said: Cells, picture: int, each: Objects, *, most: int) -> Answers:
    """The cells within an object whose score and overlap together are highest, up to `most` an object.

    An object that holds no cell's place has the nearest cell. A cell answers for one object, the one it suits best. Of
    an object's cells the best is to say the best overlap.
    """
    box_N4 = said.box_BN4[picture]
    if not len(each.class_N):
        none = torch.zeros(0, dtype=torch.int64, device=box_N4.device)
        return Answers(none, none, box_N4.new_zeros(0))
    giou_NM = generalized_iou(to_corners(box_N4)[:, None], to_corners(each.box_N4)[None], eps=EPS)
    score_NM = said.logits_BNC[picture].sigmoid()[:, each.class_N].clamp(min=1e-4)
    suits_NM = ((giou_NM + 1) / 2) ** OVERLAP_POWER * score_NM**SCORE_POWER
    suits_NM = suits_NM.masked_fill(~_within(said.place_BN2[picture], said.silent_BN[picture], each.box_N4), 0)
    best = suits_NM.topk(min(most, len(suits_NM)), dim=0)
    kept_NM = torch.zeros_like(suits_NM).scatter_(0, best.indices, best.values)
    suits_N, object_N = kept_NM.max(1)
    cell_P = suits_N.nonzero()[:, 0]
    object_P = object_N[cell_P]
    overlap_KM = iou(to_corners(box_N4[best.indices]), to_corners(each.box_N4)[None], eps=EPS)
    overlap_M = overlap_KM.masked_fill(best.values == 0, 0).amax(0)
    fit_P = suits_N[cell_P] / kept_NM.amax(0)[object_P] * overlap_M[object_P]
    return Answers(cell_P, object_P, fit_P)


def _within(place_N2: Tensor, silent_N: Tensor, box_M4: Tensor) -> Tensor:
    """(N, M): does the cell's own place lie in the object, or is it the nearest where none does?"""
    corners_1M4 = to_corners(box_M4)[None]
    place_N12 = place_N2[:, None]
    inside_NM = ((place_N12 > corners_1M4[..., :2]) & (place_N12 < corners_1M4[..., 2:])).all(-1)
    inside_NM &= ~silent_N[:, None]
    far_NM = (place_N12 - box_M4[None, :, :2]).norm(dim=-1).masked_fill(silent_N[:, None], torch.inf)
    nearest_NM = torch.zeros_like(inside_NM).scatter_(0, far_NM.argmin(0)[None], True)
    return inside_NM | (nearest_NM & ~inside_NM.any(0))


def _varifocal(said: Cells, target_BNC: Tensor, objects: Sequence[Objects]) -> Tensor:
    """Summed over the cells that say something, but for the classes that the labels say nothing of there."""
    plain = functional.binary_cross_entropy_with_logits(said.logits_BNC, target_BNC, reduction="none")
    background = BACKGROUND * said.logits_BNC.detach().sigmoid() ** 2
    loss = torch.where(target_BNC > 0, target_BNC, background) * plain
    out_BNC = said.silent_BN[..., None].expand_as(loss)
    unsaid_BNC = silent(said.box_BN4, [each.unsaid for each in objects], loss.shape[-1])
    if unsaid_BNC is not None:
        out_BNC = out_BNC | (unsaid_BNC & (target_BNC == 0))
    return loss.masked_fill(out_BNC, 0).sum()
