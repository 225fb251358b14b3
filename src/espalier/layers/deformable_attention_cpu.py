"""Multi-scale deformable attention on a CPU: a sum of rows of the value's table, without the samples in between.

With the heads folded in, an output row is a weighted sum of 4 · L · P rows of the value, the cells around its points:
a product with a sparse matrix. Forward is `embedding_bag`, the weights' gradient a product taken only where the matrix
has entries, the value's gradient the product with its transpose. Places are computed again for backward, so that
nothing larger than the inputs is kept. All of it sums in a fixed order.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from espalier.layers.deformable_attention_standard import Size

ENTRIES = 4_000_000  # of the sparse matrix at a time: about 150 MB in backward


def cpu_attention(
    value_BNHD: Tensor, sizes_hw: Sequence[Size], locations_BQHLP2: Tensor, weights_BQHLP: Tensor
) -> Tensor:
    """(B, Q, H·D): see `deformable_attention`. In float32 at least."""
    kind = torch.promote_types(locations_BQHLP2.dtype, torch.float32)
    given = (each.to(kind) for each in (value_BNHD, locations_BQHLP2, weights_BQHLP))
    out: Tensor = _Rows.apply(tuple(sizes_hw), *given)
    return out.to(weights_BQHLP.dtype)


class _Rows(torch.autograd.Function):
    """Some pictures at a time, so that what is made on the way stays small."""

    @staticmethod
    def forward(ctx: Any, sizes_hw: tuple[Size, ...], value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        """(B, Q, H·D)."""
        ctx.sizes_hw = sizes_hw
        ctx.save_for_backward(value, locations, weights)
        parts = [
            functional.embedding_bag(
                places.row_MK,
                value[part].reshape(-1, value.shape[-1]),
                per_sample_weights=places.share(weights[part]),
                mode="sum",
            )
            for part, places in _parts(sizes_hw, value, locations)
        ]
        return torch.cat(parts).reshape(*locations.shape[:2], value.shape[2] * value.shape[3])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, change: Tensor) -> tuple[None, Tensor, Tensor, Tensor]:
        """Gradients of value, locations and weights."""
        value, locations, weights = ctx.saved_tensors
        to_value, to_locations, to_weights = (torch.empty_like(each) for each in (value, locations, weights))
        for part, places in _parts(ctx.sizes_hw, value, locations):
            rows_MD = change[part].reshape(-1, value.shape[-1]).contiguous()
            table_RD = value[part].reshape(-1, value.shape[-1])
            share_MK = places.share(weights[part])
            to_value[part] = _scattered(places.row_MK, share_MK, rows_MD, len(table_RD)).view_as(value[part])
            products = _products(places.row_MK, rows_MD, table_RD).reshape(places.shape)
            to_locations[part], to_weights[part] = places.gradients(products, weights[part])
        return None, to_value, to_locations, to_weights


@dataclass
class _Axis:
    """Where points lie along one axis of the maps: the nearer of two neighbouring cells, and each one's share.

    `past` is a point's distance from the first cell's centre, in cells. On the map it is between 0 and 1; beyond the
    border the first cell is the outermost but one, so that the shares fade out as they do with zeros around the map.
    """

    past: Tensor
    cell: Tensor
    count_L1: Tensor

    @classmethod
    def of(cls, place: Tensor, count_L1: Tensor) -> _Axis:
        """`place` is 0-1 of a map of `count_L1` cells."""
        past = (place * count_L1).sub_(0.5)
        cell = past.floor().nan_to_num_().clamp_(min=0)  # no number has no cell: its shares are none, and so is the sum
        torch.minimum(cell, (count_L1 - 2).clamp(min=0), out=cell)
        return cls(past.sub_(cell), cell, count_L1)

    @cached_property
    def alone(self) -> bool:
        """Has some level one cell only? Then there is no second."""
        return bool((self.count_L1 == 1).any())

    @cached_property
    def shares(self) -> tuple[Tensor, Tensor]:
        """Of the first and of the second cell."""
        first = self.past.abs().neg_().add_(1).clamp_(min=0)
        second = (self.past - 1).abs_().neg_().add_(1).clamp_(min=0)
        return first, second * (self.count_L1 > 1) if self.alone else second

    @cached_property
    def slopes(self) -> tuple[Tensor, Tensor]:
        """How the shares change with the place in cells; at a cell's centre, as on its right."""
        on = self.past.floor()
        before, between, after = ((on == step).to(self.past.dtype) for step in (-1, 0, 1))
        first, second = before.sub_(between), between.sub(after)
        return first, second * (self.count_L1 > 1) if self.alone else second


class _Places:
    """The sparse matrix of some pictures: row m = (picture, query, head) has K = 4 · L · P entries."""

    def __init__(self, sizes_hw: Sequence[Size], value_BNHD: Tensor, locations_BQHLP2: Tensor) -> None:
        sizes_L2 = locations_BQHLP2.new_tensor(sizes_hw)
        self.x = _Axis.of(locations_BQHLP2[..., 0], sizes_L2[:, 1:])
        self.y = _Axis.of(locations_BQHLP2[..., 1], sizes_L2[:, :1])
        *outer, levels, points = locations_BQHLP2.shape[:-1]
        self.shape = (*outer, 4, levels, points)
        self.row_MK = self._rows(value_BNHD, sizes_hw)

    def _rows(self, value_BNHD: Tensor, sizes_hw: Sequence[Size]) -> Tensor:
        """Which rows of the value's table, (B · N · H) of them: the four cells around each point."""
        batch, tokens, heads, _ = value_BNHD.shape
        kind = torch.int32 if batch * tokens * heads < 2**31 else torch.int64
        starts = torch.tensor([sum(h * w for h, w in sizes_hw[:level]) for level in range(len(sizes_hw))], dtype=kind)
        picture, head = torch.arange(batch, dtype=kind), torch.arange(heads, dtype=kind)
        first = (picture.reshape(-1, 1, 1, 1, 1) * tokens + starts[:, None]) * heads + head[:, None, None]
        right, down = (
            (heads * (self.x.count_L1 > 1)).to(kind),
            (heads * self.x.count_L1 * (self.y.count_L1 > 1)).to(kind),
        )
        row = torch.empty(self.shape, dtype=kind)
        cell = (self.y.cell * self.x.count_L1).add_(self.x.cell).to(kind).mul_(heads).add_(first)
        row[..., 0, :, :] = cell
        torch.add(cell, right, out=row[..., 1, :, :])
        torch.add(cell, down, out=row[..., 2, :, :])
        torch.add(cell.add_(down), right, out=row[..., 3, :, :])
        return row.reshape(-1, 4 * self.shape[-2] * self.shape[-1])

    def share(self, weights_BQHLP: Tensor) -> Tensor:
        """(M, K): the matrix's entries."""
        share = weights_BQHLP.new_empty(self.shape)
        for n, vertical in enumerate(self.y.shares):
            weighted = weights_BQHLP * vertical
            for m, horizontal in enumerate(self.x.shares):
                torch.mul(weighted, horizontal, out=share[..., 2 * n + m, :, :])
        return share.reshape(self.row_MK.shape)

    def gradients(self, products: Tensor, weights_BQHLP: Tensor) -> tuple[Tensor, Tensor]:
        """Of locations and of weights, by what each cell's row gives when multiplied with the output's gradient."""
        upper, lower = products[..., :2, :, :].unbind(-3), products[..., 2:, :, :].unbind(-3)
        above, below = _mixed(upper, self.x.shares), _mixed(lower, self.x.shares)
        along_y = _mixed((above, below), self.y.slopes).mul_(weights_BQHLP).mul_(self.y.count_L1)
        sideways = _mixed(upper, self.x.slopes), _mixed(lower, self.x.slopes)
        along_x = _mixed(sideways, self.y.shares).mul_(weights_BQHLP).mul_(self.x.count_L1)
        return torch.stack([along_x, along_y], -1), _mixed((above, below), self.y.shares)


def _mixed(pair: Sequence[Tensor], factors: Sequence[Tensor]) -> Tensor:
    return (pair[0] * factors[0]).addcmul_(pair[1], factors[1])


def _parts(sizes_hw: Sequence[Size], value: Tensor, locations: Tensor) -> Iterator[tuple[slice, _Places]]:
    """Slices of the batch, and where their points lie."""
    batch = len(locations)
    entries = 2 * locations[:1].numel()
    step = max(1, min(batch, ENTRIES // max(1, entries)))
    for start in range(0, batch, step):
        part = slice(start, start + step)
        yield part, _Places(sizes_hw, value[part], locations[part])


def _scattered(row_MK: Tensor, share_MK: Tensor, rows_MD: Tensor, count: int) -> Tensor:
    """(count, D): the transposed matrix times `rows_MD`. SciPy's product walks the entries; torch's would sort them."""
    ends = _ends(row_MK)
    parts = (share_MK.reshape(-1).numpy(), row_MK.reshape(-1).numpy(), ends.numpy())
    return torch.from_numpy(csr_array(parts, shape=(len(row_MK), count)).T @ rows_MD.numpy())


def _products(row_MK: Tensor, rows_MD: Tensor, table_RD: Tensor) -> Tensor:
    """(M · K,): each entry's row of the table times its own row of `rows_MD`."""
    zeros = rows_MD.new_zeros(row_MK.numel())
    missing = row_MK.shape[1] - len(table_RD)  # a matrix may not have more entries than places, repeated ones included
    if missing > 0:
        table_RD = functional.pad(table_RD, (0, 0, 0, missing))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that compressed rows are in beta, once a process
        pattern = torch.sparse_csr_tensor(
            _ends(row_MK), row_MK.reshape(-1), zeros, (len(row_MK), len(table_RD)), check_invariants=False
        )
    products: Tensor = torch.sparse.sampled_addmm(pattern, rows_MD, table_RD.T).values()
    return products


def _ends(row_MK: Tensor) -> Tensor:
    return torch.arange(0, row_MK.numel() + 1, row_MK.shape[1], dtype=row_MK.dtype)
