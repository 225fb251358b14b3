"""Boxes, positions and deformable attention against what can be checked by hand or by a plain loop."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from espalier.layers.boxes import generalized_iou, inverse_sigmoid, to_centre, to_corners
from espalier.layers.deformable_attention import DeformableAttention, deformable_attention
from espalier.layers.deformable_transformer import cell_centres, on_levels, proposals, refined
from espalier.layers.levels import Levels, Tokens, padding_mask
from espalier.layers.positions import box_positions, cell_positions


def test_boxes_go_to_corners_and_back() -> None:
    box = torch.tensor([[0.5, 0.5, 0.2, 0.4]])
    torch.testing.assert_close(to_corners(box), torch.tensor([[0.4, 0.3, 0.6, 0.7]]))
    torch.testing.assert_close(to_centre(to_corners(box)), box)


@pytest.mark.parametrize(
    ("a", "b", "giou"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1.0),
        ((0, 0, 2, 2), (1, 0, 3, 2), 2 / 6),  # the hull is the union
        ((0, 0, 1, 1), (1, 1, 2, 2), 0 - 2 / 4),
        ((0, 0, 1, 1), (9, 0, 10, 1), 0 - 8 / 10),
    ],
)
def test_generalized_iou(a: tuple[float, ...], b: tuple[float, ...], giou: float) -> None:
    found = generalized_iou(torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64))
    assert float(found) == pytest.approx(giou)


def test_two_empty_boxes_overlap_by_nothing_where_eps_says_so() -> None:
    empty = torch.zeros(4)
    assert float(generalized_iou(empty, empty, eps=1e-6)) == 0
    assert math.isnan(float(generalized_iou(empty, empty)))


def test_inverse_sigmoid_stops_at_eps() -> None:
    torch.testing.assert_close(inverse_sigmoid(torch.tensor([0.3]), eps=1e-5).sigmoid(), torch.tensor([0.3]))
    assert float(inverse_sigmoid(torch.tensor(2.0), eps=1e-3)) == pytest.approx(math.log(1 / 1e-3))


def test_cells_are_counted_over_the_valid_ones() -> None:
    padded = torch.zeros(1, 2, 4, dtype=torch.bool)
    padded[..., 2:] = True
    places = cell_positions(padded, 8, temperature=20.0, centred=False)
    assert places.shape == (1, 8, 2, 4)
    turn = 2 * math.pi
    assert float(places[0, 0, 0, 0]) == pytest.approx(math.sin(turn / 2), abs=1e-5)  # row 1 of 2
    assert float(places[0, 4, 0, 0]) == pytest.approx(math.sin(turn / 2), abs=1e-5)  # column 1 of 2 valid ones
    assert float(places[0, 7, 1, 1]) == pytest.approx(math.cos(turn / 20**0.5), abs=1e-5)
    half = cell_positions(padded, 8, temperature=20.0, centred=True)
    assert float(half[0, 0, 0, 0]) == pytest.approx(math.sin(turn / 4), abs=1e-5)


def test_a_boxs_numbers_come_in_the_asked_order() -> None:
    box = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    numbers = box_positions(box, 2, order=(1, 0, 2, 3))
    expected = [f(2 * math.pi * n) for n in (0.2, 0.1, 0.3, 0.4) for f in (math.sin, math.cos)]
    torch.testing.assert_close(numbers[0], torch.tensor(expected))


def plain_attention(value: Tensor, sizes: list[tuple[int, int]], places: Tensor, weights: Tensor) -> Tensor:
    """The formula, a sample at a time."""
    batch, _, heads, width = value.shape
    out = torch.zeros(batch, places.shape[1], heads, width, dtype=value.dtype)
    starts = [0]
    for height, across in sizes:
        starts.append(starts[-1] + height * across)
    for b, q, h, level, p in torch.cartesian_prod(*(torch.arange(n) for n in places.shape[:5])).tolist():
        height, across = sizes[level]
        x, y = float(places[b, q, h, level, p, 0]) * across - 0.5, float(places[b, q, h, level, p, 1]) * height - 0.5
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                if 0 <= row < height and 0 <= column < across:
                    share = (1 - abs(y - row)) * (1 - abs(x - column)) * weights[b, q, h, level, p]
                    out[b, q, h] += share * value[b, starts[level] + row * across + column, h]
    return out.flatten(2)


def test_deformable_attention_is_its_formula() -> None:
    torch.manual_seed(0)
    sizes = [(3, 4), (2, 2)]
    value = torch.randn(2, 16, 2, 3, dtype=torch.float64)
    places = torch.rand(2, 3, 2, 2, 2, 2, dtype=torch.float64) * 1.4 - 0.2  # some lie outside
    weights = torch.rand(2, 3, 2, 2, 2, dtype=torch.float64)
    found = deformable_attention(value, sizes, places, weights)
    torch.testing.assert_close(found, plain_attention(value, sizes, places, weights))


def test_padding_has_no_value_and_heads_start_in_their_own_directions() -> None:
    torch.manual_seed(0)
    attention = DeformableAttention(8, heads=4, levels=1, points=2)
    second = attention.sampling_offsets.bias.reshape(4, 1, 2, 2)[:, 0, 1]
    torch.testing.assert_close(second, torch.tensor([[2.0, 0], [0, 2], [-2, 0], [0, -2]]))
    padded = torch.tensor([[False, False, True, True]])
    query, reference = torch.randn(1, 1, 8), torch.full((1, 1, 1, 2), 0.5)
    value = torch.randn(1, 4, 8)
    other = value.clone()
    other[:, 2:] = 9.0
    same = [attention(query, reference, each, [(2, 2)], padded) for each in (value, other)]
    assert torch.equal(*same)


def tokens(sizes: list[tuple[int, int]], padded: Tensor, ratio: Tensor) -> Tokens:
    count = sum(h * w for h, w in sizes)
    return Tokens(torch.randn(1, count, 4), torch.zeros(1, count, 4), padded, ratio, sizes)


def test_cells_lie_at_their_centres_on_every_level() -> None:
    centres = cell_centres([(1, 2), (1, 1)], torch.tensor([[[0.5, 1.0], [1.0, 1.0]]]))
    assert centres.shape == (1, 3, 2, 2)
    # the first cell of the half valid level lies in the middle of what is valid: 0.25 of the map, 0.5 of the other's
    torch.testing.assert_close(centres[0, 0], torch.tensor([[0.25, 0.5], [0.5, 0.5]]))


def test_padding_and_edges_propose_nothing() -> None:
    given = tokens([(1, 2)], torch.tensor([[False, True]]), torch.ones(1, 1, 2))
    logits, memory = proposals(given, given.value_BNC)
    torch.testing.assert_close(logits[0, 0].sigmoid(), torch.tensor([0.5, 0.5, 0.05, 0.05]))
    assert torch.isinf(logits[0, 1]).all()
    assert not memory[0, 1].any()


def test_a_point_is_refined_at_its_centre_only() -> None:
    change = torch.tensor([[[0.0, 0.0, 1.0, -1.0]]])
    box = refined(change, torch.tensor([[[0.3, 0.6]]]), eps=1e-5)
    torch.testing.assert_close(box, torch.tensor([[[0.3, 0.6, 0.7310586, 0.2689414]]]))
    ratio = torch.tensor([[[0.5, 1.0]]])
    torch.testing.assert_close(on_levels(box, ratio)[0, 0, 0], torch.tensor([0.15, 0.6, 0.36552930, 0.2689414]))


def test_levels_take_maps_and_add_coarser_ones() -> None:
    torch.manual_seed(0)
    levels = Levels([6, 8], 32, levels=3, temperature=20.0, centred=False)
    image, valid = torch.zeros(1, 3, 32, 32), torch.tensor([[32, 16]])
    given = levels([torch.randn(1, 6, 8, 8), torch.randn(1, 8, 4, 4)], padding_mask(image, valid))
    assert given.sizes_hw == [(8, 8), (4, 4), (2, 2)]
    assert given.padded_BN.shape == (1, 84)
    assert given.padded_BN.sum() == 32 + 8 + 2
    torch.testing.assert_close(given.valid_ratio_BL2[0], torch.tensor([[0.5, 1.0]] * 3))
