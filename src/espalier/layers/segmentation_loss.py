"""What a segmenter minimises: losses of every pixel of the input, from logits of a coarser map.

The logits are made as large as the labels picture by picture, and what is kept for the backward pass is the gradient of
the coarse logits alone: no map with a plane a class at the input's size outlives its picture. All these losses have
gradients that are short formulas of the softmax, so nothing is computed twice for that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

Kind = Literal["cross_entropy", "ohem", "focal", "dice"]


@dataclass(frozen=True)
class PixelLoss:
    """Which loss, by name.

    `over`: what a sum over pixels is divided by: `labelled` pixels (their weights, where classes are weighted), or
    `all` pixels of the batch, ignored ones too, as mmsegmentation does.
    """

    kind: Kind = "cross_entropy"
    over: Literal["labelled", "all"] = "labelled"
    focus: float = 2.0  # focal: the power of 1 - p
    hard_below: float = 0.7  # ohem: a pixel is hard where its class is given less than this
    hard_share: float = 1 / 16  # ohem: so much of the labelled pixels at least, the hardest, count as hard
    dice_weight: float = 0.0  # of a Dice loss beside another kind


def pixel_losses(
    logits_BChw: Tensor, class_BHW: Tensor, settings: PixelLoss, weight_C: Tensor | None = None
) -> dict[str, Tensor]:
    """The terms by name, at the labels' size, and their `total`.

    A label that is no class (-1, 255) is ignored. Terms without a labelled pixel are 0.
    """
    names = ("dice",) if settings.kind == "dice" else (settings.kind, *(("dice",) if settings.dice_weight else ()))
    with torch.autocast(logits_BChw.device.type, enabled=False):  # 16 bits can't hold a pixel's share of a sum
        values: Tensor = _Terms.apply(logits_BChw, class_BHW, _Asked(names, settings, weight_C))
    terms = dict(zip(names, values, strict=True))
    if settings.kind != "dice" and settings.dice_weight:
        terms["dice"] = settings.dice_weight * terms["dice"]
    return {**terms, "total": torch.stack(list(terms.values())).sum()}


@dataclass(frozen=True)
class _Asked:
    names: Sequence[str]
    settings: PixelLoss
    weight_C: Tensor | None


@dataclass(frozen=True)
class _Picture:
    """One picture at the labels' size: its probabilities, not yet divided by their sum, and each pixel's own class.

    `raised` is made of the coarse logits `leaf`, and then turned into probabilities in place: one map a class in all.
    """

    leaf_1Chw: Tensor
    raised_1CHW: Tensor
    undivided_CHW: Tensor
    sum_HW: Tensor
    own_HW: Tensor  # the log-probability of each pixel's own class
    class_1HW: Tensor  # 0 where it has none
    labelled_HW: Tensor

    @classmethod
    def of(cls, logits_Chw: Tensor, class_HW: Tensor) -> _Picture:
        """Of its coarse logits and its labels."""
        labelled_HW = (class_HW >= 0) & (class_HW < logits_Chw.shape[0])
        class_1HW = torch.where(labelled_HW, class_HW, 0).long()[None]
        exact = torch.promote_types(logits_Chw.dtype, torch.float32)
        # Planes of classes one after the other: the sums over them, and the way back to the coarse map, copy nothing.
        leaf = logits_Chw.detach().to(exact)[None].contiguous().requires_grad_()
        with torch.enable_grad():
            size_hw = (int(class_HW.shape[0]), int(class_HW.shape[1]))
            raised = functional.interpolate(leaf, size=size_hw, mode="bilinear", align_corners=False)
        own_map = raised.detach()[0]
        own_map.sub_(own_map.amax(0))
        shifted_HW = own_map.gather(0, class_1HW)[0]
        sum_HW = own_map.exp_().sum(0)
        return cls(leaf, raised, own_map, sum_HW, shifted_HW - sum_HW.log(), class_1HW, labelled_HW)

    @property
    def p_CHW(self) -> Tensor:
        """The probabilities."""
        return self.undivided_CHW / self.sum_HW

    def p_times(self, factor_HW: Tensor, *, last: bool) -> Tensor:
        """(C, H, W): the probabilities, each pixel's times a factor; the `last` time it takes the map itself."""
        factor_HW = factor_HW / self.sum_HW
        return self.undivided_CHW.mul_(factor_HW) if last else self.undivided_CHW * factor_HW

    def lowered(self, gradient_CHW: Tensor) -> Tensor:
        """The gradient (C, h, w) of the coarse logits for one of the raised logits."""
        found = torch.autograd.grad(self.raised_1CHW, self.leaf_1Chw, gradient_CHW[None], retain_graph=True)
        return found[0][0]


def _pictures(logits_BChw: Tensor, class_BHW: Tensor) -> Iterator[_Picture]:
    return (_Picture.of(logits, classes) for logits, classes in zip(logits_BChw, class_BHW, strict=True))


@dataclass
class _Sums:
    """What has to be known of the whole batch before a pixel's gradient: the divisor, hard pixels, Dice's sums."""

    divisor: Tensor
    hard_below: float | Tensor = math.inf  # log-probabilities
    overlap_C: Tensor | None = None
    given_C: Tensor | None = None
    labelled_C: Tensor | None = None
    coefficients: tuple[Tensor, Tensor] | None = field(default=None)


class _Terms(torch.autograd.Function):
    """(K,): the values of the terms. What is saved is each term's gradient of the coarse logits."""

    @staticmethod
    def forward(ctx: Any, logits_BChw: Tensor, class_BHW: Tensor, asked: _Asked) -> Tensor:
        """One pass over the pictures, after another where a term needs sums over all of them."""
        sums = _sums(logits_BChw, class_BHW, asked)
        values = logits_BChw.new_zeros(len(asked.names), dtype=torch.promote_types(logits_BChw.dtype, torch.float32))
        gradients: list[list[Tensor]] = [[] for _ in asked.names]
        for picture in _pictures(logits_BChw, class_BHW):
            for k, name in enumerate(asked.names):
                if name == "dice":
                    gradient_CHW = _dice_gradient(picture, sums)
                else:
                    value, slope_HW = _pixel_slope(picture, sums, asked)
                    values[k] += value
                    gradient_CHW = _pixel_gradient(picture, slope_HW, last=k + 1 == len(asked.names))
                if ctx.needs_input_grad[0]:
                    gradients[k].append(picture.lowered(gradient_CHW).to(logits_BChw.dtype))
        if "dice" in asked.names:
            values[asked.names.index("dice")] = _dice(sums)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(*(torch.stack(own) for own in gradients))
        return values

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The saved gradients, each times what its term is worth."""
        worth_K = grad_outputs[0]
        parts = [worth.to(saved.dtype) * saved for worth, saved in zip(worth_K, ctx.saved_tensors, strict=True)]
        return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0], None, None


def _sums(logits_BChw: Tensor, class_BHW: Tensor, asked: _Asked) -> _Sums:
    count = logits_BChw.shape[1]
    labelled_BHW = (class_BHW >= 0) & (class_BHW < count)
    sums = _Sums(_divisor(class_BHW, labelled_BHW, asked))
    if "ohem" in asked.names:
        own = [picture.own_HW[picture.labelled_HW] for picture in _pictures(logits_BChw, class_BHW)]
        sums.hard_below = _hard_below(torch.cat(own), asked.settings)
        hard = torch.cat(own) <= sums.hard_below
        sums.divisor = _hard_divisor(class_BHW[labelled_BHW][hard], sums.divisor, asked)
    if "dice" in asked.names:
        _add_dice(sums, _pictures(logits_BChw, class_BHW), count)
    return sums


def _divisor(class_BHW: Tensor, labelled_BHW: Tensor, asked: _Asked) -> Tensor:
    if asked.settings.over == "all":
        return torch.tensor(float(class_BHW.numel()), device=class_BHW.device)
    return _weighed(class_BHW[labelled_BHW], asked.weight_C)


def _hard_divisor(class_N: Tensor, divisor: Tensor, asked: _Asked) -> Tensor:
    return divisor if asked.settings.over == "all" else _weighed(class_N, asked.weight_C)


def _weighed(class_N: Tensor, weight_C: Tensor | None) -> Tensor:
    """The number of pixels, or the sum of their weights; never 0."""
    if weight_C is None:
        return torch.tensor(float(max(class_N.numel(), 1)), device=class_N.device)
    return weight_C[class_N.long()].sum().clamp_min(torch.finfo(weight_C.dtype).tiny)


def _hard_below(own_N: Tensor, settings: PixelLoss) -> float | Tensor:
    """The log-probability up to which a pixel is hard."""
    limit = math.log(settings.hard_below)
    least = math.ceil(settings.hard_share * own_N.numel())
    if not least:
        return limit
    return torch.clamp_min(own_N.sort().values[least - 1], limit)


def _pixel_slope(picture: _Picture, sums: _Sums, asked: _Asked) -> tuple[Tensor, Tensor]:
    """The picture's part of the term, and (H, W) its slope over the log-probability of each pixel's own class."""
    settings, own_HW = asked.settings, picture.own_HW
    counted_HW = picture.labelled_HW
    if settings.kind == "ohem":
        counted_HW = counted_HW & (own_HW <= sums.hard_below)
    weight_HW = counted_HW.to(own_HW.dtype) / sums.divisor
    if asked.weight_C is not None:
        weight_HW = weight_HW * asked.weight_C[picture.class_1HW[0]]
    if settings.kind != "focal":
        return -(weight_HW * own_HW).sum(), -weight_HW
    p_HW, power = own_HW.exp(), settings.focus  # Lin et al., "Focal Loss for Dense Object Detection", 2017, eq. 4
    rest_HW = (1 - p_HW).clamp_min(torch.finfo(p_HW.dtype).eps)
    slope_HW = rest_HW**power - power * p_HW * rest_HW ** (power - 1) * own_HW
    return -(weight_HW * rest_HW**power * own_HW).sum(), -weight_HW * slope_HW


def _pixel_gradient(picture: _Picture, slope_HW: Tensor, *, last: bool) -> Tensor:
    """(C, H, W) of the raised logits z: with log p = z - log sum exp z, dp_own/dz = [c = own] - p."""
    return _added_to_own(picture.p_times(-slope_HW, last=last), picture.class_1HW, slope_HW)


def _added_to_own(map_CHW: Tensor, class_1HW: Tensor, more_HW: Tensor) -> Tensor:
    return map_CHW.scatter_(0, class_1HW, map_CHW.gather(0, class_1HW) + more_HW)


def _add_dice(sums: _Sums, pictures: Iterator[_Picture], count: int) -> None:
    """Sums over the labelled pixels of the batch, and the slopes of the term over the probabilities.

    Milletari, Navab, Ahmadi, "V-Net", 2016, with sums for squares: 1 - 2 |pg| / (|p| + |g|), the mean over the classes
    that some pixel has; a class that none has would only push its own probability down, which the others do already.
    """
    parts = [_dice_parts(picture, count) for picture in pictures]
    overlap_C, given_C, labelled_C = (torch.stack(part).sum(0) for part in zip(*parts, strict=True))
    sums.overlap_C, sums.given_C, sums.labelled_C = overlap_C, given_C, labelled_C
    both_C = (given_C + labelled_C).clamp_min(torch.finfo(given_C.dtype).eps)
    share_C = (labelled_C > 0).to(given_C.dtype) / (labelled_C > 0).sum().clamp_min(1)
    sums.coefficients = (-2 * share_C / both_C, 2 * share_C * overlap_C / both_C**2)


def _dice_parts(picture: _Picture, count: int) -> tuple[Tensor, Tensor, Tensor]:
    classes_N, own_N = picture.class_1HW[0][picture.labelled_HW], picture.own_HW[picture.labelled_HW].exp()
    overlap_C = own_N.new_zeros(count).index_add_(0, classes_N, own_N)
    labelled_C = own_N.new_zeros(count).index_add_(0, classes_N, torch.ones_like(own_N))
    return overlap_C, (picture.p_CHW * picture.labelled_HW).sum((1, 2)), labelled_C


def _dice(sums: _Sums) -> Tensor:
    assert sums.overlap_C is not None
    assert sums.given_C is not None
    assert sums.labelled_C is not None
    there_C = sums.labelled_C > 0
    both_C = (sums.given_C + sums.labelled_C).clamp_min(torch.finfo(sums.given_C.dtype).eps)
    missed_C = torch.where(there_C, 1 - 2 * sums.overlap_C / both_C, 0)
    return missed_C.sum() / there_C.sum().clamp_min(1)


def _dice_gradient(picture: _Picture, sums: _Sums) -> Tensor:
    """(C, H, W): p (m - sum p m), where m is the slope over each probability: `every`, and `own` more at the class."""
    assert sums.coefficients is not None
    own_C, every_C = sums.coefficients
    p_CHW = picture.p_CHW
    pull_HW = p_CHW.gather(0, picture.class_1HW)[0] * own_C[picture.class_1HW[0]]
    mean_HW = torch.einsum("chw,c->hw", p_CHW, every_C) + pull_HW
    gradient_CHW = p_CHW.mul_(every_C[:, None, None] - mean_HW)
    return _added_to_own(gradient_CHW, picture.class_1HW, pull_HW).mul_(picture.labelled_HW)
