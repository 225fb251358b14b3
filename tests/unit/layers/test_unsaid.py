"""Where the labels say nothing, nothing is learnt: by hand, and by gradients that are exactly zero."""

from __future__ import annotations

import pytest
import torch

from espalier.layers.matching import Match, Objects
from espalier.layers.set_loss import focal_sum, set_losses
from espalier.layers.unsaid import EVERY_CLASS, Unsaid, silent

REGION = [0.5, 0.5, 0.4, 0.4]  # 0.3 to 0.7
INSIDE, HALF, LESS, AWAY = [0.5, 0.5, 0.2, 0.2], [0.31, 0.5, 0.2, 0.2], [0.29, 0.5, 0.2, 0.2], [0.9, 0.9, 0.1, 0.1]
BOXES = torch.tensor([INSIDE, HALF, LESS, AWAY])
NO_MATCH = Match(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))


def unsaid(*regions: int, classes: tuple[int, ...] = ()) -> Unsaid:
    """Regions of these classes, all in one place, and classes that were not labelled."""
    ids = torch.tensor(regions, dtype=torch.int64)
    return Unsaid(ids, torch.tensor([REGION] * len(regions)).reshape(-1, 4), torch.tensor(classes, dtype=torch.int64))


def labelled(left_out: Unsaid | None, *class_ids: int) -> Objects:
    return Objects(torch.tensor(class_ids, dtype=torch.int64), BOXES[: len(class_ids)], left_out)


def gradient(objects: Objects, found: Match = NO_MATCH) -> torch.Tensor:
    """Of the class loss, in each of the four boxes' three logits."""
    logits = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    terms = set_losses(logits, BOXES[None], [objects], [found], divisor=1.0, giou_eps=0.0)
    terms["class"].backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    return logits.grad[0]


def test_a_box_that_lies_half_in_a_region_of_its_class_is_neither_right_nor_wrong() -> None:
    found = unsaid(1).silent(BOXES, 3)
    assert found.tolist() == [[False, each, False] for each in (True, True, False, False)]
    assert unsaid(EVERY_CLASS).silent(BOXES, 3).tolist() == [[each] * 3 for each in (True, True, False, False)]


def test_the_regions_share_is_of_the_boxs_own_area() -> None:
    whole = torch.tensor([[0.5, 0.5, 1.0, 1.0]])  # holds the region, which is 16 % of it
    assert not unsaid(1).silent(whole, 3).any()
    assert not unsaid(1).silent(torch.tensor([[0.5, 0.5, 0.0, 0.0]]), 3).any()


def test_regions_have_no_gradient_in_their_class_alone() -> None:
    grad = gradient(labelled(unsaid(1)))
    assert (grad == 0).tolist() == [[False, each, False] for each in (True, True, False, False)]
    assert (gradient(labelled(unsaid(EVERY_CLASS))) == 0).all(1).tolist() == [True, True, False, False]


def test_an_unlabelled_class_has_no_gradient_anywhere_and_the_others_keep_theirs() -> None:
    grad, plain = gradient(labelled(unsaid(classes=(0, 2)))), gradient(labelled(None))
    assert (grad[:, [0, 2]] == 0).all()
    assert torch.equal(grad[:, 1], plain[:, 1])


def test_what_is_labelled_is_learnt_wherever_it_lies() -> None:
    one = Match(torch.tensor([0]), torch.tensor([0]))
    silenced, plain = (gradient(labelled(left_out, 1), one) for left_out in (unsaid(EVERY_CLASS, classes=(1,)), None))
    assert silenced[0, 1] == plain[0, 1] < 0
    assert (silenced[0, [0, 2]] == 0).all()


def test_boxes_learn_from_their_objects_alone_whatever_is_unsaid() -> None:
    one = Match(torch.tensor([3]), torch.tensor([0]))
    terms = [
        set_losses(torch.zeros(1, 4, 3), BOXES[None], [labelled(left_out, 1)], [one], divisor=1.0, giou_eps=0.0)
        for left_out in (unsaid(EVERY_CLASS), None)
    ]
    assert all(torch.equal(terms[0][name], terms[1][name]) for name in ("l1", "giou"))


def test_pictures_of_a_batch_keep_to_themselves() -> None:
    both = silent(BOXES.expand(2, -1, -1), [None, unsaid(1)], 3)
    assert both is not None
    assert not both[0].any()
    assert both[1].any()


def test_nothing_is_made_where_the_labels_say_everything() -> None:
    assert silent(BOXES[None], [None], 3) is None


def test_a_region_without_boxes_changes_no_bit_of_the_loss() -> None:
    logits = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(1))
    assert focal_sum(logits, torch.zeros_like(logits), torch.zeros(1, 4, 3, dtype=torch.bool)) == focal_sum(
        logits, torch.zeros_like(logits)
    )


def test_of_any_class() -> None:
    assert unsaid(2).of_any_class().silent(BOXES, 3).all(1).tolist() == [True, True, False, False]
    assert unsaid(classes=(2,)).of_any_class().silent(BOXES, 3).all()
    assert not unsaid(2).of_any_class().silent(BOXES[3:], 3).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    left_out = Unsaid(torch.tensor([1]), torch.tensor([REGION], dtype=dtype), torch.tensor([0]))
    assert left_out.silent(BOXES.to(dtype), 2).tolist() == [[True, True], [True, True], [True, False], [True, False]]
