"""The loss of masks at points: cross entropy and Dice (Milletari et al., 2016).

Points as in PointRend (Kirillov et al., 2020), most of them where the mask is least sure; here drawn by the box of the
object, since a small one would see few of them otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from espalier.layers.detr import Said
from espalier.layers.mask_head import STRIDE, MaskHead
from espalier.layers.matching import Match, Objects
from espalier.layers.processes import mean_over_processes
from espalier.layers.set_loss import object_count

GROWN = 1.5  # sides of the box by which points are drawn, in sides of the object's
SHARES = (0.125, 0.375)  # of the points: anywhere in the picture, anywhere by the box; the rest are the least sure ones
CANDIDATES = 3  # times as many points by the box, of which the least sure are taken


@dataclass(frozen=True)
class Outlined:
    """The R objects of a batch that have an outline, picture by picture."""

    mask_RHW: Sequence[Tensor]  # uint8, each at its own picture's size of the input
    box_R4: Tensor  # centre x, centre y, width, height, px of the input
    valid_R2: Tensor  # width and height of the picture, px of the input
    picture_R: Tensor
    row_BN: Sequence[Tensor]  # of each picture: an object's row here, -1 where it has no outline
    divisor: float  # their number, the mean over all processes, at least 1

    @classmethod
    def of(cls, objects: Sequence[Objects], targets: Mapping[str, Sequence[Tensor]], valid_hw: Tensor) -> Outlined:
        """Of the labels of each picture: `mask_NHW`, and `masked_N`, which objects have one."""
        masked_BN = [masked_N.bool() for masked_N in targets["masked_N"]]
        counts = [int(masked_N.sum()) for masked_N in masked_BN]
        known = [Objects(o.class_N[masked_N], o.box_N4[masked_N]) for o, masked_N in zip(objects, masked_BN)]
        picture_R = torch.repeat_interleave(torch.tensor(counts)).to(valid_hw.device)
        valid_R2 = valid_hw.flip(1).float()[picture_R]
        return cls(
            [mask for mask_NHW, masked_N in zip(targets["mask_NHW"], masked_BN) for mask in mask_NHW[masked_N]],
            torch.cat([each.box_N4 for each in known]) * torch.cat([valid_R2, valid_R2], -1),
            valid_R2,
            picture_R,
            [(n + m.cumsum(0) - 1).where(m, -1) for n, m in zip(_starts(counts), masked_BN)],
            object_count(known),
        )

    def rows(self, matches: Sequence[Match]) -> tuple[Tensor, Tensor, Tensor]:
        """Picture, query and row (K,) of the answers to these objects."""
        picture = torch.cat([torch.full_like(m.query_N, n) for n, m in enumerate(matches)])
        query = torch.cat([m.query_N for m in matches])
        row = torch.cat([row_N[m.object_N] for row_N, m in zip(self.row_BN, matches)])
        known = row >= 0
        return picture[known], query[known], row[known]

    def answered(self, matches: Sequence[Match]) -> float:
        """How many of these answers one of these objects has, in the mean over all processes, at least 1."""
        count = torch.tensor(float(len(self.rows(matches)[2])), device=self.box_R4.device)
        return max(float(mean_over_processes(count)) / self.divisor, 1.0)

    def at(self, point_RP2: Tensor) -> Tensor:
        """(R, P) float32: 1 where the point (x, y in px) lies on the object."""
        column, line = point_RP2.floor().long().unbind(-1)
        return torch.stack([_read(*each) for each in zip(self.mask_RHW, line, column)]) if len(line) else column.float()


def _starts(counts: Sequence[int]) -> list[int]:
    return [sum(counts[:n]) for n in range(len(counts))]


def _read(mask_HW: Tensor, line_P: Tensor, column_P: Tensor) -> Tensor:
    """(P,) float32: 0 beyond the mask."""
    height, width = mask_HW.shape
    inside = (line_P >= 0) & (line_P < height) & (column_P >= 0) & (column_P < width)
    found = mask_HW[line_P.clamp(0, height - 1), column_P.clamp(0, width - 1)]
    return (found.bool() & inside).float()


@dataclass(frozen=True)
class Points:
    """What the map says at points of each outlined object, and what is right there."""

    features_RPE: Tensor
    wanted_RP: Tensor


def sampled(features_BEhw: Tensor, outlined: Outlined, kernel_RE: Tensor, count: int) -> Points:
    """About `count` points an object: some anywhere, some by its box, most where the mask of this kernel is least sure.

    `kernel_RE` is each object's present answer, without gradient; 0 where it has none.
    """
    anywhere, near = (max(1, round(share * count)) for share in SHARES)
    unsure = max(1, count - anywhere - near)
    rows = len(kernel_RE)
    drawn = torch.rand(rows, anywhere, 2, device=features_BEhw.device) * outlined.valid_R2[:, None]
    by_box = _by_box(outlined, near + CANDIDATES * unsure)
    candidates = by_box[:, near:]
    with torch.no_grad():
        logits_RP = torch.einsum("re,rpe->rp", kernel_RE, features_at(features_BEhw, outlined.picture_R, candidates))
        least = logits_RP.abs().topk(unsure, dim=1, largest=False).indices
    chosen = candidates.gather(1, least[..., None].expand(-1, -1, 2))
    point_RP2 = torch.cat([drawn, by_box[:, :near], chosen], 1)
    return Points(features_at(features_BEhw, outlined.picture_R, point_RP2), outlined.at(point_RP2))


def _by_box(outlined: Outlined, count: int) -> Tensor:
    """(R, count, 2): x, y in px, evenly drawn of what lies of each object's grown box in the picture."""
    centre_R2, reach_R2 = outlined.box_R4[:, :2], outlined.box_R4[:, 2:] * GROWN / 2
    low_R2, high_R2 = (centre_R2 - reach_R2).clamp(min=0), (centre_R2 + reach_R2).minimum(outlined.valid_R2)
    share = torch.rand(len(low_R2), count, 2, device=low_R2.device)
    return low_R2[:, None] + share * (high_R2 - low_R2)[:, None]


def features_at(features_BEhw: Tensor, picture_R: Tensor, point_RP2: Tensor) -> Tensor:
    """(R, P, E): the map between its cells, as enlarging it bilinearly would give it there."""
    height, width = features_BEhw.shape[2:]
    extent = torch.tensor([width * STRIDE, height * STRIDE], device=point_RP2.device)
    grid = 2 * point_RP2 / extent - 1
    found = [
        functional.grid_sample(map_EHW[None], grid[picture_R == n][None], padding_mode="border", align_corners=False)
        for n, map_EHW in enumerate(features_BEhw)
        if (picture_R == n).any()
    ]
    if not found:
        return features_BEhw.new_zeros(*point_RP2.shape[:2], features_BEhw.shape[1]) + 0 * features_BEhw.sum()
    return torch.cat([each[0].permute(1, 2, 0) for each in found])


def mask_losses(kernel_KE: Tensor, row_K: Tensor, points: Points, divisor: float) -> dict[str, Tensor]:
    """The terms `mask` (cross entropy) and `dice` of K answers to the objects `row_K`, summed, over `divisor`."""
    logits_KP, wanted_KP = _answered(kernel_KE, row_K, points.features_RPE), points.wanted_RP[row_K]
    plain_KP = functional.binary_cross_entropy_with_logits(logits_KP, wanted_KP, reduction="none")
    share_KP = logits_KP.sigmoid()
    both, either = (share_KP * wanted_KP).sum(1), share_KP.sum(1) + wanted_KP.sum(1)
    return {"mask": plain_KP.mean(1).sum() / divisor, "dice": (1 - (2 * both + 1) / (either + 1)).sum() / divisor}


@dataclass(frozen=True)
class MaskWeights:
    """Of the loss terms."""

    mask: float
    dice: float


@dataclass(frozen=True)
class MaskScorer:
    """Scores answers to one batch's objects, all at the same points."""

    head: MaskHead
    outlined: Outlined
    points: Points
    weights: MaskWeights

    @classmethod
    def of(
        cls,
        head: MaskHead,
        features_BEhw: Tensor,
        outlined: Outlined,
        said: Said,
        matches: Sequence[Match],
        *,
        weights: MaskWeights,
        points: int,
    ) -> MaskScorer:
        """At about `points` points an object, most where the masks of `said`, together, are least sure."""
        kernel_RE = features_BEhw.new_zeros(len(outlined.picture_R), features_BEhw.shape[1])
        with torch.no_grad():
            kernel_KE, row_K = _kernels(head, outlined, said, matches)
            counts_R = torch.bincount(row_K, minlength=len(kernel_RE)).clamp(min=1)
            kernel_RE = kernel_RE.index_add(0, row_K, kernel_KE) / counts_R[:, None]
        return cls(head, outlined, sampled(features_BEhw, outlined, kernel_RE, points), weights)

    def __call__(self, said: Said, matches: Sequence[Match], groups: float = 1) -> dict[str, Tensor]:
        """The weighted terms `mask` and `dice`; an object has `groups` answers, in the mean."""
        kernel_KE, row_K = _kernels(self.head, self.outlined, said, matches)
        terms = mask_losses(kernel_KE, row_K, self.points, self.outlined.divisor * groups)
        return {"mask": self.weights.mask * terms["mask"], "dice": self.weights.dice * terms["dice"]}


def _kernels(head: MaskHead, outlined: Outlined, said: Said, matches: Sequence[Match]) -> tuple[Tensor, Tensor]:
    """The kernels (K, E) of the answers to outlined objects, and whose they are."""
    assert said.stream_BQC is not None
    picture_K, query_K, row_K = outlined.rows(matches)
    return head.kernels(said.stream_BQC[picture_K, query_K], said.box_BQ4[picture_K, query_K]), row_K


def _answered(kernel_KE: Tensor, row_K: Tensor, features_RPE: Tensor) -> Tensor:
    """(K, P): the logits. All answers to an object are multiplied at once, so that its features are never copied."""
    counts_R = torch.bincount(row_K, minlength=len(features_RPE))
    order = row_K.argsort(stable=True)
    first_R = counts_R.cumsum(0) - counts_R
    place_K = torch.empty_like(row_K)
    place_K[order] = torch.arange(len(row_K), device=row_K.device) - first_R[row_K[order]]
    most = int(counts_R.max()) if len(counts_R) else 0
    kernel_RME = kernel_KE.new_zeros(len(features_RPE), most, kernel_KE.shape[-1])
    kernel_RME = kernel_RME.index_put((row_K, place_K), kernel_KE)
    return torch.einsum("rme,rpe->rmp", kernel_RME, features_RPE)[row_K, place_K]
