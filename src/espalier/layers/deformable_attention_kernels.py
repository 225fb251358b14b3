"""Multi-scale deformable attention in Triton's own language: the kernels that `deformable_attention_triton` launches.

What is in here is compiled by Triton, not run by Python: parameters are addresses and numbers of the device, and have
no types that a type checker knows (`pyproject.toml` says so for this module alone).
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _rows(rows, queries, H: tl.constexpr, ROWS: tl.constexpr):
    """The program's rows, which of them there are, and each one's head and picture."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    return row, row < rows, row % H, row // (H * queries)


@triton.jit
def _level(levels, level, picture, tokens):
    """A level's height and width, and its first token in each row's picture."""
    at = levels + 3 * level
    return tl.load(at), tl.load(at + 1), picture * tokens + tl.load(at + 2)


@triton.jit
def _point(locations, weights, at, width, height, live):
    """A point's place in cells from the middle of the first one, and its weight."""
    x = tl.load(locations + 2 * at, mask=live, other=0).to(tl.float32) * width - 0.5
    y = tl.load(locations + 2 * at + 1, mask=live, other=0).to(tl.float32) * height - 0.5
    return x, y, tl.load(weights + at, mask=live, other=0).to(tl.float32)


@triton.jit
def _cell(column, line, width, height, first, head, live, channel, H: tl.constexpr, D: tl.constexpr):
    """Where the channels of a cell's head lie in the value, and whether they are there."""
    there = live & (column >= 0) & (column < width) & (line >= 0) & (line < height)
    cell = tl.where(there, line * width + column, 0)
    place = ((first + cell.to(tl.int64)) * H + head) * D
    return place[:, None] + channel[None, :], there[:, None] & (channel < D)[None, :]


@triton.jit
def forward_kernel(
    value,
    locations,
    weights,
    levels,
    out,
    rows,
    tokens,
    queries,
    H: tl.constexpr,
    D: tl.constexpr,
    L: tl.constexpr,
    P: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """The program's rows of attention's answer, sampled and summed level by level, point by point, corner by corner."""
    row, live, head, picture = _rows(rows, queries, H, ROWS)
    channel = tl.arange(0, CHANNELS)
    total = tl.zeros([ROWS, CHANNELS], dtype=tl.float32)
    for level in range(L):
        height, width, first = _level(levels, level, picture, tokens)
        for point in range(P):
            at = (row * L + level) * P + point
            x, y, weight = _point(locations, weights, at, width, height, live)
            left, top = tl.floor(x), tl.floor(y)
            for corner in tl.static_range(4):
                column, line = left + corner % 2, top + corner // 2
                share = (1 - tl.abs(x - column)) * (1 - tl.abs(y - line)) * weight
                place, there = _cell(column, line, width, height, first, head, live, channel, H, D)
                cells = tl.load(value + place, mask=there, other=0).to(tl.float32)
                total += share[:, None] * cells
    mask = live[:, None] & (channel < D)[None, :]
    tl.store(out + row[:, None] * D + channel[None, :], total.to(out.dtype.element_ty), mask=mask)


@triton.jit
def backward_kernel(
    value,
    locations,
    weights,
    levels,
    change,
    per_one,
    sums,
    to_locations,
    to_weights,
    rows,
    tokens,
    queries,
    H: tl.constexpr,
    D: tl.constexpr,
    L: tl.constexpr,
    P: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
    EXACT: tl.constexpr,
):
    """The gradients of the program's rows: of locations and weights stored, of the value added to `sums`."""
    row, live, head, picture = _rows(rows, queries, H, ROWS)
    channel = tl.arange(0, CHANNELS)
    mask = live[:, None] & (channel < D)[None, :]
    changes = tl.load(change + row[:, None] * D + channel[None, :], mask=mask, other=0).to(tl.float32)
    units = tl.load(per_one)
    for level in range(L):
        height, width, first = _level(levels, level, picture, tokens)
        for point in range(P):
            at = (row * L + level) * P + point
            x, y, weight = _point(locations, weights, at, width, height, live)
            left, top = tl.floor(x), tl.floor(y)
            along_x = tl.zeros([ROWS], dtype=tl.float32)
            along_y = tl.zeros([ROWS], dtype=tl.float32)
            sampled = tl.zeros([ROWS], dtype=tl.float32)
            for corner in tl.static_range(4):
                column, line = left + corner % 2, top + corner // 2
                share_x, share_y = 1 - tl.abs(x - column), 1 - tl.abs(y - line)
                place, there = _cell(column, line, width, height, first, head, live, channel, H, D)
                cells = tl.load(value + place, mask=there, other=0).to(tl.float32)
                product = tl.sum(cells * changes, axis=1)
                sampled += share_x * share_y * product
                along_x += (2 * (corner % 2) - 1) * share_y * product
                along_y += (2 * (corner // 2) - 1) * share_x * product
                part = (share_x * share_y * weight)[:, None] * changes
                if EXACT:
                    part = (part * units).to(tl.int64)
                tl.atomic_add(sums + place, part, mask=there, sem="relaxed")
            kind = to_locations.dtype.element_ty
            tl.store(to_locations + 2 * at, (along_x * weight * width).to(kind), mask=live)
            tl.store(to_locations + 2 * at + 1, (along_y * weight * height).to(kind), mask=live)
            tl.store(to_weights + at, sampled.to(to_weights.dtype.element_ty), mask=live)
