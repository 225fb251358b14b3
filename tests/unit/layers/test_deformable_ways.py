"""Every way of computing deformable attention gives what standard operators give, gradients included."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from espalier.layers import deformable_attention_cpu
from espalier.layers.deformable_attention import deformable_attention
from espalier.layers.deformable_attention_cpu import cpu_attention
from espalier.layers.deformable_attention_standard import Size, standard_attention
from espalier.layers.deformable_attention_ways import way_for

SIZES = {
    "one level": [(5, 7)],
    "two levels": [(3, 4), (2, 2)],
    "a row, a column, a cell": [(1, 6), (4, 1), (1, 1)],
    "five levels": [(6, 5), (4, 4), (3, 2), (2, 1), (1, 1)],
}


def drawn(
    sizes_hw: Sequence[Size], *, queries: int = 5, heads: int = 2, width: int = 3, points: int = 2, spread: float = 0.4
) -> tuple[Tensor, Tensor, Tensor]:
    """Value, locations (some outside, by up to `spread`) and weights."""
    made = torch.Generator().manual_seed(0)
    tokens, levels = sum(h * w for h, w in sizes_hw), len(sizes_hw)
    value = torch.randn(2, tokens, heads, width, generator=made, dtype=torch.float64)
    places = torch.rand(2, queries, heads, levels, points, 2, generator=made, dtype=torch.float64)
    weights = torch.randn(2, queries, heads, levels, points, generator=made, dtype=torch.float64)
    return value, places * (1 + 2 * spread) - spread, weights


def answer(way: object, sizes_hw: Sequence[Size], given: Sequence[Tensor]) -> list[Tensor]:
    """The output and the gradients of value, locations and weights."""
    leaves = [each.clone().requires_grad_() for each in given]
    out = way(leaves[0], sizes_hw, *leaves[1:])  # type: ignore[operator]
    change = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    return [out.detach(), *torch.autograd.grad(out, leaves, change)]


@pytest.mark.parametrize("sizes_hw", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("points", [1, 4])
def test_rows_of_a_table_give_what_standard_operators_give(sizes_hw: list[Size], points: int) -> None:
    given = drawn(sizes_hw, points=points)
    torch.testing.assert_close(answer(cpu_attention, sizes_hw, given), answer(standard_attention, sizes_hw, given))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_rows_in_less_than_double_precision(kind: torch.dtype) -> None:
    sizes_hw = SIZES["five levels"]
    value, places, weights = drawn(sizes_hw, width=8)
    given = value.to(kind), places.float(), weights.to(kind)
    found = answer(cpu_attention, sizes_hw, given)
    assert [each.dtype for each in found] == [kind, kind, torch.float32, kind]
    torch.testing.assert_close(found, answer(standard_attention, sizes_hw, given))


def test_places_on_cells_edges_and_the_border() -> None:
    sizes_hw = [(3, 4)]
    steps = torch.arange(-2, 12, dtype=torch.float64) / 8  # centres, edges, the border, a cell outside it
    places = torch.cartesian_prod(steps, steps).reshape(1, -1, 1, 1, 1, 2)
    value = torch.randn(1, 12, 1, 2, dtype=torch.float64)
    given = value, places, torch.ones(places.shape[:-1], dtype=torch.float64)
    torch.testing.assert_close(answer(cpu_attention, sizes_hw, given), answer(standard_attention, sizes_hw, given))


@pytest.mark.parametrize("place", [float("nan"), float("inf"), -float("inf")])
def test_a_place_that_is_no_number_spoils_its_own_row_alone(place: float) -> None:
    """A training that diverges is told by its loss, not by an index that is out of range."""
    sizes_hw = SIZES["two levels"]
    value, places, weights = drawn(sizes_hw, heads=3)
    expected = cpu_attention(value, sizes_hw, places, weights)
    places[0, 1, 2, 0, 0, 0] = place
    found = cpu_attention(value, sizes_hw, places, weights)
    assert torch.isnan(found[0, 1, 6:]).all() == (place != place)
    found[0, 1, 6:] = expected[0, 1, 6:]
    assert torch.equal(found, expected)


def test_no_query_is_no_row() -> None:
    sizes_hw = [(2, 2)]
    found = answer(cpu_attention, sizes_hw, drawn(sizes_hw, queries=0))
    assert found[0].shape == (2, 0, 6)
    assert not found[1].any()


def test_a_few_pictures_at_a_time_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes_hw = SIZES["two levels"]
    whole = answer(cpu_attention, sizes_hw, drawn(sizes_hw))
    monkeypatch.setattr(deformable_attention_cpu, "ENTRIES", 1)
    torch.testing.assert_close(answer(cpu_attention, sizes_hw, drawn(sizes_hw)), whole)


def test_a_graph_that_is_written_down_holds_standard_operators() -> None:
    class Attend(torch.nn.Module):
        def forward(self, value: Tensor, places: Tensor, weights: Tensor) -> Tensor:
            return deformable_attention(value, [(3, 4), (2, 2)], places, weights)

    given = drawn([(3, 4), (2, 2)])
    assert way_for(*given[:2]) is cpu_attention
    assert way_for(*(each.to("meta") for each in given[:2])) is standard_attention
    written = torch.export.export(Attend(), given)
    names = {str(node.target) for node in written.graph.nodes if node.op == "call_function"}
    assert any("grid_sampler" in name for name in names)
    assert not any("embedding_bag" in name for name in names)
    traced = torch.jit.trace(Attend(), given)
    assert "grid_sampler" in str(traced.inlined_graph)
