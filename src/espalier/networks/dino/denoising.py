"""Contrastive denoising (Zhang et al., 2022, 3.3): labelled boxes, shaken, as queries that know their answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from espalier.layers.boxes import inverse_sigmoid, to_centre, to_corners
from espalier.layers.matching import Match, Objects
from espalier.layers.set_loss import object_count

if TYPE_CHECKING:
    from espalier.networks.dino.spec import DenoisingSpec

EPS = 1e-3  # of the inverse sigmoid


@dataclass(frozen=True)
class Draws:
    """The random numbers of one batch: n rows, the batch's boxes 2 · groups times (positives, negatives, …)."""

    flip_N: Tensor  # uniform; a label is flipped below half of the ratio
    label_N: Tensor  # the class a flipped label becomes
    shift_N4: Tensor  # of each corner number: sign · share of half a side, 1 more for negatives


@dataclass(frozen=True)
class Noised:
    """Queries (B, count, …) of shaken boxes, `groups` times positives then negatives, padded to the fullest picture."""

    content_BQC: Tensor
    box_logits_BQ4: Tensor
    objects: Sequence[Objects]
    matches: Sequence[Match]
    groups: int
    divisor: float

    @property
    def count(self) -> int:
        """Noised queries of a picture."""
        return self.box_logits_BQ4.shape[1]

    def blocked(self, queries: int) -> Tensor:
        """(Q, Q), true where a query may not see another: groups see themselves and plain queries, these no group."""
        device = self.box_logits_BQ4.device
        group = torch.arange(self.count, device=device) // (self.count // self.groups)
        group = torch.cat([group, torch.full((queries,), self.groups, device=device)])
        seen = (group[:, None] == group[None, :]) | (group[None, :] == self.groups)
        return ~seen


class Denoising(nn.Module):
    """Makes noised queries of the labelled objects of a batch."""

    def __init__(self, spec: DenoisingSpec, classes: int, width: int) -> None:
        super().__init__()
        self.spec, self.classes = spec, classes
        known = max(spec.labels, classes)
        self.label = nn.Embedding(known + 1, width)  # the last row is published, and never used

    def forward(self, objects: Sequence[Objects], draws: Draws | None = None) -> Noised | None:
        """None where no picture has an object. `draws` replace the random numbers."""
        most = max((len(each.class_N) for each in objects), default=0)
        if not most:
            return None
        groups = self._groups(most)
        labels = torch.cat([each.class_N for each in objects]).repeat(2 * groups)
        boxes = torch.cat([each.box_N4 for each in objects]).repeat(2 * groups, 1)
        if draws is None:
            draws = self._draw(len(labels) // (2 * groups), groups, boxes.device)
        picture, slot = _slots(objects, most, groups)
        flipped = (draws.flip_N < self.spec.label_noise / 2) & _may_be(draws.label_N, picture, objects)
        labels = torch.where(flipped, draws.label_N, labels)
        size = (len(objects), 2 * groups * most)
        content = self.label.weight.new_zeros(*size, self.label.embedding_dim)
        logits = boxes.new_zeros(*size, 4)
        content[picture, slot] = self.label(labels)
        logits[picture, slot] = inverse_sigmoid(self._shaken(boxes, draws.shift_N4), eps=EPS)
        return Noised(
            content, logits, objects, _positives(objects, most, groups), groups, object_count(objects) * groups
        )

    def _groups(self, most: int) -> int:
        """As asked, else as many as make about `queries` positives and as many negatives of the fullest picture."""
        return self.spec.groups or max(1, self.spec.queries // most)

    def _draw(self, count: int, groups: int, device: torch.device) -> Draws:
        rows = 2 * groups * count
        negative = (torch.arange(rows, device=device) // count % 2)[:, None]
        sign = torch.randint(0, 2, (rows, 4), device=device) * 2.0 - 1.0
        return Draws(
            torch.rand(rows, device=device),
            torch.randint(0, self.classes, (rows,), device=device),
            sign * (torch.rand(rows, 4, device=device) + negative),
        )

    def _shaken(self, box_N4: Tensor, shift_N4: Tensor) -> Tensor:
        half = box_N4[:, 2:].repeat(1, 2) / 2
        return to_centre((to_corners(box_N4) + shift_N4 * half * self.spec.box_noise).clamp(0, 1))


def _slots(objects: Sequence[Objects], most: int, groups: int) -> tuple[Tensor, Tensor]:
    """The picture and query of each row: the batch's boxes, 2 · groups times."""
    device = objects[0].box_N4.device
    picture = torch.cat([torch.full((len(o.class_N),), n, device=device) for n, o in enumerate(objects)])
    place = torch.cat([torch.arange(len(o.class_N), device=device) for o in objects])
    part = torch.arange(2 * groups, device=device)[:, None] * most
    return picture.repeat(2 * groups), (part + place).flatten()


def _may_be(label_N: Tensor, picture_N: Tensor, objects: Sequence[Objects]) -> Tensor:
    """(N,) is the label one that its picture was labelled for? Of others nobody knows whether they would be wrong."""
    good_N = torch.ones_like(label_N, dtype=torch.bool)
    for n, each in enumerate(objects):
        if each.unsaid is not None:
            good_N &= (picture_N != n) | ~torch.isin(label_N, each.unsaid.class_U)
    return good_N


def _positives(objects: Sequence[Objects], most: int, groups: int) -> list[Match]:
    """Each group's positive queries and the objects that they were made of."""
    matches = []
    for each in objects:
        place = torch.arange(len(each.class_N), device=each.box_N4.device)
        group = torch.arange(groups, device=place.device)[:, None] * 2 * most
        matches.append(Match((group + place).flatten(), place.repeat(groups)))
    return matches
