"""Denoising queries: where they stand, whom they see, what they were made of."""

from __future__ import annotations

import torch

from espalier.layers.matching import Objects
from espalier.layers.unsaid import Unsaid
from espalier.networks.dino.denoising import Denoising, Draws
from espalier.networks.dino.spec import DenoisingSpec

TWO = Objects(torch.tensor([0, 1]), torch.tensor([[0.3, 0.3, 0.2, 0.2], [0.6, 0.6, 0.2, 0.2]]))
ONE = Objects(torch.tensor([2]), torch.tensor([[0.5, 0.5, 0.4, 0.4]]))
NONE = Objects(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4))


def still(count: int) -> Draws:
    """No flip, no shift."""
    return Draws(torch.ones(count), torch.zeros(count, dtype=torch.int64), torch.zeros(count, 4))


def test_layout_of_groups() -> None:
    noised = Denoising(DenoisingSpec(queries=4), 3, 8)([TWO, ONE], still(12))
    assert noised is not None
    assert (noised.groups, noised.count) == (2, 8)  # two groups of two positives and two negatives
    boxes = noised.box_logits_BQ4.sigmoid()
    torch.testing.assert_close(boxes[0, 2:4], TWO.box_N4)  # the negatives of the first group
    torch.testing.assert_close(boxes[1, 4], ONE.box_N4[0])
    assert not noised.box_logits_BQ4[1, 1].any()  # the slot of the missing second object
    assert [m.query_N.tolist() for m in noised.matches] == [[0, 1, 4, 5], [0, 4]]
    assert [m.object_N.tolist() for m in noised.matches] == [[0, 1, 0, 1], [0, 0]]
    assert noised.divisor == 3 * 2


def test_groups_see_themselves_and_the_plain_queries_see_none() -> None:
    noised = Denoising(DenoisingSpec(queries=2), 3, 8)([ONE], still(4))
    assert noised is not None
    assert (noised.groups, noised.count) == (2, 4)
    seen = ~noised.blocked(1)
    assert seen.int().tolist() == [[1, 1, 0, 0, 1], [1, 1, 0, 0, 1], [0, 0, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 0, 0, 1]]


def test_positives_stay_within_half_a_side_and_negatives_go_beyond() -> None:
    torch.manual_seed(0)
    noised = Denoising(DenoisingSpec(queries=50, box_noise=0.4, label_noise=0.0), 3, 8)([ONE])
    assert noised is not None
    box = noised.box_logits_BQ4.sigmoid()[0]
    corner = (box[:, :2] - box[:, 2:] / 2 - 0.3).abs()  # of the shift of the left top corner: half a side is 0.2
    positive, negative = corner[0::2], corner[1::2]
    assert positive.max() <= 0.4 * 0.2 + 1e-5
    assert negative.min() >= 0.4 * 0.2 - 1e-5
    assert negative.max() <= 2 * 0.4 * 0.2 + 1e-5


def test_labels_flip_at_half_of_the_ratio() -> None:
    denoising = Denoising(DenoisingSpec(queries=1, label_noise=0.5), 3, 8)
    draws = Draws(torch.tensor([0.24, 0.26]), torch.tensor([0, 0]), torch.zeros(2, 4))
    noised = denoising([ONE], draws)
    assert noised is not None
    assert torch.equal(noised.content_BQC[0, 0], denoising.label.weight[0])
    assert torch.equal(noised.content_BQC[0, 1], denoising.label.weight[2])


def test_nothing_to_noise() -> None:
    assert Denoising(DenoisingSpec(), 3, 8)([NONE, NONE]) is None


def test_no_label_flips_to_a_class_that_its_picture_was_not_labelled_for() -> None:
    nothing, no_boxes = torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4)
    partly = Objects(ONE.class_N, ONE.box_N4, Unsaid(nothing, no_boxes, torch.tensor([0])))
    denoising = Denoising(DenoisingSpec(queries=1, label_noise=1.0), 3, 8)
    draws = Draws(torch.zeros(4), torch.tensor([0, 0, 1, 1]), torch.zeros(4, 4))
    noised = denoising([partly, ONE], draws)  # rows: the positives of both pictures, then the negatives
    assert noised is not None
    labels = denoising.label.weight
    assert torch.equal(noised.content_BQC[0], torch.stack([labels[2], labels[1]]))  # 0 may not be: it stays 2
    assert torch.equal(noised.content_BQC[1], torch.stack([labels[0], labels[1]]))
    assert [each.unsaid is None for each in noised.objects] == [False, True]
