"""Who answers for what, and what a wrong answer costs, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from espalier.errors import WorkError
from espalier.layers.matching import Costs, Match, Objects, match
from espalier.layers.set_loss import fitted_sum, focal_sum, object_count, set_losses

BOXES = torch.tensor([[0.2, 0.2, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2]])


def objects(*class_ids: int) -> Objects:
    return Objects(torch.tensor(class_ids, dtype=torch.int64), BOXES[: len(class_ids)])


def matched(logits: torch.Tensor, boxes: torch.Tensor, labelled: Objects) -> list[tuple[int, int]]:
    found = match(logits[None], boxes[None], [labelled], costs=Costs(), giou_eps=0.0)[0]
    return sorted(zip(found.object_N.tolist(), found.query_N.tolist(), strict=True))


def test_the_nearest_box_answers_and_the_class_decides_between_equals() -> None:
    logits = torch.zeros(3, 2)
    assert matched(logits, torch.cat([BOXES.flip(0), BOXES[:1] + 0.4]), objects(0, 1)) == [(0, 1), (1, 0)]
    logits[2, 1] = 3.0
    assert matched(logits, BOXES[:1].expand(3, -1), objects(1)) == [(0, 2)]


def test_more_objects_than_queries_leave_the_dearest_without_one() -> None:
    assert matched(torch.zeros(1, 2), BOXES[1:], objects(0, 1)) == [(1, 0)]


def test_what_is_not_finite_is_told() -> None:
    with pytest.raises(WorkError, match="NaN or infinite"):
        matched(torch.full((1, 2), torch.nan), BOXES[:1], objects(0))


def test_focal_loss_of_a_sure_right_and_a_sure_wrong_answer() -> None:
    share = 1 / (1 + math.exp(-2))
    found = focal_sum(torch.tensor([2.0, 2.0]), torch.tensor([1.0, 0.0]))
    right, wrong = 0.25 * (1 - share) ** 2 * -math.log(share), 0.75 * share**2 * -math.log(1 - share)
    assert float(found) == pytest.approx(right + wrong)


def test_terms_of_one_match() -> None:
    logits, boxes = torch.zeros(1, 2, 1), torch.cat([BOXES[:1] + torch.tensor([0.1, 0, 0, 0]), BOXES[1:]])[None]
    terms = set_losses(
        logits, boxes, [objects(0)], [Match(torch.tensor([0]), torch.tensor([0]))], divisor=2.0, giou_eps=0.0
    )
    log2 = math.log(2)
    assert float(terms["class"]) == pytest.approx((0.25 * 0.25 * log2 + 0.75 * 0.25 * log2) / 2)
    assert float(terms["l1"]) == pytest.approx(0.1 / 2)
    assert float(terms["giou"]) == pytest.approx((1 - 1 / 3) / 2)


def test_pictures_without_objects_are_all_background() -> None:
    none = Objects(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4))
    logits, boxes = torch.zeros(1, 2, 3, requires_grad=True), torch.rand(1, 2, 4, requires_grad=True)
    found = match(logits, boxes, [none], costs=Costs(), giou_eps=0.0)
    terms = set_losses(logits, boxes, [none], found, divisor=object_count([none]), giou_eps=0.0)
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert object_count([none]) == 1.0
    assert terms["l1"].item() == terms["giou"].item() == 0
    assert logits.grad is not None
    assert (logits.grad > 0).all()


def test_fitted_scores_are_taught_how_well_the_box_fits() -> None:
    logits, boxes = torch.zeros(1, 2, 1), torch.cat([BOXES[:1] + torch.tensor([0.1, 0, 0, 0]), BOXES[1:]])[None]
    found = [Match(torch.tensor([0]), torch.tensor([0]))]
    terms = set_losses(logits, boxes, [objects(0)], found, divisor=1.0, giou_eps=0.0, fitted=True)
    log2 = math.log(2)  # of a share of one half every target's cross entropy is log 2
    assert float(terms["class"]) == pytest.approx(log2 + 0.5**1.5 * log2)


def test_fitted_score_is_best_at_the_power_of_the_overlap() -> None:
    logits = torch.linspace(-6, 6, 241)
    losses = torch.stack([fitted_sum(each, torch.tensor(0.5)) for each in logits])
    assert float(logits[losses.argmin()].sigmoid()) == pytest.approx(0.5**1.5, abs=0.02)
