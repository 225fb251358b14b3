"""Kernels over one map: where its cells lie, what points of it say, and what a wrong mask costs."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from espalier.layers.detr import Encoded, Said
from espalier.layers.levels import Levels, padding_mask
from espalier.layers.mask_head import MaskHead
from espalier.layers.mask_loss import (
    MaskScorer,
    MaskWeights,
    Outlined,
    Points,
    features_at,
    mask_losses,
    sampled,
)
from espalier.layers.matching import Match, Objects

CLASS = torch.zeros(2, dtype=torch.int64)
BOXES = torch.tensor([[0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0]])  # the left and the right half


def outlined(*, known: tuple[bool, bool] = (True, True), valid_hw: tuple[int, int] = (16, 32)) -> Outlined:
    """Two pictures of the same two objects, halves of a picture of 16 × 32 px."""
    mask = torch.zeros(2, 16, 32, dtype=torch.uint8)
    mask[0, :, :16], mask[1, :, 16:] = 1, 1
    targets = {"mask_NHW": [mask, mask], "masked_N": [torch.tensor(known), torch.tensor([True, True])]}
    return Outlined.of([Objects(CLASS, BOXES)] * 2, targets, torch.tensor([valid_hw] * 2))


def encoded(size_hw: tuple[int, int], *, fine_hw: tuple[int, int] | None) -> Encoded:
    """A level of stride 8 of a picture of that size, and a finer map."""
    height, width = size_hw
    level = torch.randn(2, 8, -(-height // 8), -(-width // 8))
    padded = padding_mask(torch.zeros(2, 3, height, width), torch.tensor([size_hw] * 2))
    tokens = Levels([8], 32, levels=1, temperature=20.0, centred=False)([level], padded)
    fine = None if fine_hw is None else torch.randn(2, 6, *fine_hw)
    return Encoded(tokens, torch.randn_like(tokens.value_BNC), padded, fine)


# ---- the map --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fine_hw", "channels"), [((9, 17), 6), ((8, 16), 6), ((10, 18), 6), (None, None)])
def test_the_map_has_a_cell_for_each_four_pixels(fine_hw: tuple[int, int] | None, channels: int | None) -> None:
    """Whether the encoder rounds down or up, or has no such map."""
    head = MaskHead(channels, 32, 12, enlarge=2.0)
    assert head.features(encoded((33, 66), fine_hw=fine_hw).mask_maps()).shape == (2, 12, 9, 17)
    assert head.kernels(torch.randn(2, 5, 32), torch.rand(2, 5, 4)).shape == (2, 5, 12)


def test_a_kernel_depends_on_the_box_but_teaches_it_nothing() -> None:
    head = MaskHead(None, 32, 12, enlarge=2.0)
    stream, box = torch.randn(3, 32), torch.rand(3, 4, requires_grad=True)
    kernel = head.kernels(stream, box)
    assert not torch.allclose(kernel, head.kernels(stream, box.flip(-1)))
    kernel.sum().backward()  # type: ignore[no-untyped-call]
    assert box.grad is None


def test_points_see_what_an_enlarged_map_holds() -> None:
    """At the middles of pixels, as the decoder enlarges it; in each object's own picture."""
    maps = torch.randn(2, 3, 4, 8)
    large = functional.interpolate(maps, scale_factor=4, mode="bilinear", align_corners=False)
    point_RP2 = torch.tensor([[[0.5, 0.5], [31.5, 15.5]], [[10.5, 7.5], [16.5, 0.5]], [[3.5, 4.5], [20.5, 9.5]]])
    found = features_at(maps, torch.tensor([0, 0, 1]), point_RP2)
    column, line = point_RP2.long().unbind(-1)
    for row, picture in enumerate((0, 0, 1)):
        assert torch.allclose(found[row], large[picture, :, line[row], column[row]].T, atol=1e-5)


# ---- the labels -----------------------------------------------------------------------------------------------------


def test_objects_without_an_outline_have_no_row() -> None:
    every, some = outlined(), outlined(known=(False, True))
    assert [row.tolist() for row in every.row_BN] == [[0, 1], [2, 3]]
    assert [row.tolist() for row in some.row_BN] == [[-1, 0], [1, 2]]
    assert (every.divisor, some.divisor) == (4.0, 3.0)
    assert some.picture_R.tolist() == [0, 1, 1]
    assert some.box_R4[0].tolist() == [24, 8, 16, 16]  # px of the input
    matches = [Match(torch.tensor([5, 7]), torch.tensor([0, 1])), Match(torch.tensor([2]), torch.tensor([0]))]
    assert [each.tolist() for each in some.rows(matches)] == [[0, 1], [7, 2], [0, 1]]


def test_how_many_answers_an_outlined_object_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those to an object without an outline don't count, those of the other processes do."""
    two_and_four = [Match(torch.arange(6), torch.tensor([0, 0, 1, 1, 1, 1]))] * 2
    assert outlined().answered(two_and_four) == 3
    assert outlined(known=(False, True)).answered(two_and_four) == pytest.approx((4 + 2 + 4) / 3)
    none = torch.zeros(0, dtype=torch.int64)
    assert outlined().answered([Match(none, none)] * 2) == 1
    labels = outlined()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda total: total.add_(6))  # the other process has 6
    assert labels.answered(two_and_four) == (12 + 6) / 2 / 4


def test_what_is_right_at_a_point() -> None:
    point = torch.tensor([[15.9, 0.1], [16.1, 0.1], [32.0, 5.0], [-0.1, 5.0]]).expand(4, -1, -1)
    assert outlined().at(point).tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]] * 2


def test_points_lie_in_the_picture_and_most_where_the_mask_is_unsure() -> None:
    torch.manual_seed(0)
    labels = outlined(valid_hw=(8, 32))  # below is padding
    edge = torch.linspace(-3.5, 3.5, 8).expand(2, 1, 4, 8)  # one channel, 0 at x = 16 px
    points = sampled(edge, labels, torch.ones(4, 1), 800)
    assert points.features_RPE.shape == (4, 800, 1)
    near = (points.features_RPE[..., 0].abs() < 1).float().mean()  # 8 of the 32 px
    assert near > 0.45
    assert 0.3 < points.wanted_RP.mean() < 0.7


# ---- the loss -------------------------------------------------------------------------------------------------------


def test_the_cost_of_a_mask_by_hand() -> None:
    """Logit 0 at four points, of which two are the object's; a second answer to it that is sure and right."""
    features = torch.tensor([[[1.0], [1.0], [-1.0], [-1.0]]])
    points = Points(features, torch.tensor([[1.0, 1.0, 0.0, 0.0]]))
    unsure = mask_losses(torch.zeros(1, 1), torch.tensor([0]), points, divisor=1.0)
    assert unsure["mask"].item() == pytest.approx(math.log(2))
    assert unsure["dice"].item() == pytest.approx(1 - (2 * 1 + 1) / (2 + 2 + 1))
    both = mask_losses(torch.tensor([[0.0], [50.0]]), torch.tensor([0, 0]), points, divisor=2.0)
    assert both["mask"].item() == pytest.approx(math.log(2) / 2, abs=1e-6)
    assert both["dice"].item() == pytest.approx(unsure["dice"].item() / 2, abs=1e-6)


def test_answers_in_any_order_meet_their_own_object() -> None:
    features, wanted = torch.randn(3, 6, 4), (torch.rand(3, 6) > 0.5).float()
    kernel, row = torch.randn(5, 4), torch.tensor([2, 0, 2, 0, 2])
    found = mask_losses(kernel, row, Points(features, wanted), divisor=1.0)["mask"]
    logits = (features[row] * kernel[:, None]).sum(-1)
    expected = functional.binary_cross_entropy_with_logits(logits, wanted[row], reduction="none").mean(1).sum()
    assert torch.allclose(found, expected, atol=1e-5)


def scorer(labels: Outlined, head: MaskHead, said: Said, matches: list[Match]) -> MaskScorer:
    seen = encoded((16, 32), fine_hw=None)
    features = head.features(seen.mask_maps())
    return MaskScorer.of(head, features, labels, said, matches, weights=MaskWeights(2.0, 3.0), points=64)


def test_nothing_outlined_costs_nothing_and_reaches_every_parameter() -> None:
    """Several processes wait for the gradient of each."""
    head = MaskHead(None, 32, 8, enlarge=2.0)
    nothing = {
        "mask_NHW": [torch.zeros(2, 16, 32), torch.zeros(0, 16, 32)],
        "masked_N": [torch.zeros(2), torch.zeros(0)],
    }
    objects = [Objects(CLASS, BOXES), Objects(CLASS[:0], BOXES[:0])]
    labels = Outlined.of(objects, nothing, torch.tensor([[16, 32]] * 2))
    said = Said(torch.zeros(2, 4, 1), torch.rand(2, 4, 4), torch.randn(2, 4, 32))
    none = torch.zeros(0, dtype=torch.int64)
    matches = [Match(torch.tensor([0, 1]), torch.tensor([0, 1])), Match(none, none)]
    terms = scorer(labels, head, said, matches)(said, matches)
    assert [value.item() for value in terms.values()] == [0.0, 0.0]
    sum(terms.values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None for p in head.parameters())


def test_an_answer_in_each_group_counts_as_one() -> None:
    torch.manual_seed(0)
    head, labels = MaskHead(None, 32, 8, enlarge=2.0), outlined()
    stream, box = torch.randn(2, 2, 32), torch.rand(2, 2, 4)
    plain = Said(torch.zeros(2, 2, 1), box, stream)
    twice = Said(torch.zeros(2, 4, 1), box.repeat(1, 2, 1), stream.repeat(1, 2, 1))
    place = torch.arange(2)
    once, again = Match(place, place), Match(torch.arange(4), place.repeat(2))
    score = scorer(labels, head, plain, [once] * 2)
    expected, found = score(plain, [once] * 2), score(twice, [again] * 2, groups=2)
    assert all(torch.allclose(expected[name], found[name], atol=1e-5) for name in expected)
