"""Every token of the encoder taught as a detector of its own: several tokens answer for each object.

A set loss teaches one query an object, which is little to learn from few pictures. In training alone, the tokens that
suit an object best learn it too: chosen as in TOOD (Feng et al., 2021, eq. 7) by score and overlap together, and taught
by the varifocal loss (Zhang et al., 2021) how well they fit. The idea is Co-DETR's (Zong et al., 2023), without heads
of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from espalier.layers.boxes import generalized_iou, to_corners
from espalier.layers.matching import Objects
from espalier.layers.unsaid import silent

ANSWERS = 6  # tokens of an object
SCORE_POWER, OVERLAP_POWER = 0.5, 4.0
BACKGROUND = 0.75  # weight of what is no object (varifocal loss)
EPS = 1e-6


@dataclass(frozen=True)
class Tokens:
    """What each token says, class logits (B, N, C) and boxes (B, N, 4), and the boxes (B, N, 4) it began with.

    A token whose first box ends outside 0-1 says nothing.
    """

    logits_BNC: Tensor
    box_BN4: Tensor
    start_BN4: Tensor


@dataclass(frozen=True)
class Answers:
    """Of one picture: P tokens, the object that each answers for, and how well it is to say that it fits, 0 to 1."""

    token_P: Tensor
    object_P: Tensor
    fit_P: Tensor


def dense_losses(said: Tokens, objects: Sequence[Objects], *, giou_eps: float) -> dict[str, Tensor]:
    """The terms `class`, `l1` and `giou`, over the sum of the fits, at least 1."""
    pictures = range(len(objects))
    answers = [answers_of(said.logits_BNC[n], said.box_BN4[n], said.start_BN4[n], objects[n]) for n in pictures]
    image = torch.cat([torch.full_like(each.token_P, n) for n, each in enumerate(answers)])
    token = torch.cat([each.token_P for each in answers])
    labels = torch.cat([o.class_N[each.object_P] for o, each in zip(objects, answers, strict=True)])
    wanted = torch.cat([o.box_N4[each.object_P] for o, each in zip(objects, answers, strict=True)])
    fit = torch.cat([each.fit_P for each in answers])
    target = torch.zeros_like(said.logits_BNC)
    target[image, token, labels] = fit.to(target.dtype)
    given = said.box_BN4[image, token]
    giou = generalized_iou(to_corners(given), to_corners(wanted), eps=giou_eps)
    divisor = fit.sum().clamp(min=1)
    return {
        "class": _varifocal(said, target, objects) / divisor,
        "l1": (functional.l1_loss(given, wanted, reduction="none").sum(-1) * fit).sum() / divisor,
        "giou": ((1 - giou) * fit).sum() / divisor,
    }


@torch.no_grad()
def answers_of(logits_NC: Tensor, box_N4: Tensor, start_N4: Tensor, each: Objects) -> Answers:
    """The tokens within an object whose score and overlap together are highest, up to `ANSWERS` an object.

    A token answers for one object, the one it suits best. Of an object's tokens the best is to say the best overlap.
    """
    if not len(each.class_N):
        none = torch.zeros(0, dtype=torch.int64, device=box_N4.device)
        return Answers(none, none, box_N4.new_zeros(0))
    giou_NM = generalized_iou(to_corners(box_N4)[:, None], to_corners(each.box_N4)[None], eps=EPS)
    score_NM = logits_NC.sigmoid()[:, each.class_N].clamp(min=1e-4)
    suits_NM = ((giou_NM + 1) / 2) ** OVERLAP_POWER * score_NM**SCORE_POWER
    suits_NM = suits_NM.masked_fill(~_within(start_N4, each.box_N4), 0)
    best = suits_NM.topk(min(ANSWERS, len(suits_NM)), dim=0)
    kept_NM = torch.zeros_like(suits_NM).scatter_(0, best.indices, best.values)
    suits_N, object_N = kept_NM.max(1)
    token_P = suits_N.nonzero()[:, 0]
    object_P = object_N[token_P]
    overlap_M = giou_NM.clamp(min=0).masked_fill(kept_NM == 0, 0).amax(0)
    fit_P = suits_N[token_P] / kept_NM.amax(0)[object_P] * overlap_M[object_P]
    return Answers(token_P, object_P, fit_P)


def _within(start_N4: Tensor, box_M4: Tensor) -> Tensor:
    """(N, M): does the token's own place lie in the object?"""
    centre_N12, corners_1M4 = start_N4[:, None, :2], to_corners(box_M4)[None]
    inside_NM = ((centre_N12 > corners_1M4[..., :2]) & (centre_N12 < corners_1M4[..., 2:])).all(-1)
    return inside_NM & _speaks(start_N4)[:, None]


def _speaks(start: Tensor) -> Tensor:
    return (start < 1).all(-1)  # what proposes nothing has infinite logits


def _varifocal(said: Tokens, target_BNC: Tensor, objects: Sequence[Objects]) -> Tensor:
    """Summed over the tokens that say something, but for the classes that the labels say nothing of there."""
    plain = functional.binary_cross_entropy_with_logits(said.logits_BNC, target_BNC, reduction="none")
    background = BACKGROUND * said.logits_BNC.detach().sigmoid() ** 2
    loss = torch.where(target_BNC > 0, target_BNC, background) * plain
    out_BNC = (~_speaks(said.start_BN4))[..., None].expand_as(loss)
    unsaid_BNC = silent(said.box_BN4, [each.unsaid for each in objects], loss.shape[-1])
    if unsaid_BNC is not None:
        out_BNC = out_BNC | (unsaid_BNC & (target_BNC == 0))
    return loss.masked_fill(out_BNC, 0).sum()
