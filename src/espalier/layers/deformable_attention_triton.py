"""Multi-scale deformable attention as one Triton kernel forward and one backward, for a CUDA device.

A program takes some rows (picture, query, head) and all channels of their head; samples are never written to memory.
Sums are in float32, whatever the value is kept in. The value's gradient is gathered by atomic additions, whose order is
chance. Where deterministic algorithms are asked for, its parts are added as whole numbers of 64 bits instead: they give
the same sum in any order. Their unit is the smallest with which no sum can overflow: far below float32's rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from espalier.layers.deformable_attention_kernels import backward_kernel, forward_kernel
from espalier.layers.deformable_attention_standard import Size

KINDS = (torch.float32, torch.float16, torch.bfloat16)
"""What a value may be kept in."""

_TILE = {"forward": 1024, "backward": 512}  # rows times channels of a program
_LARGEST = 2.0**62  # a sum of whole numbers stays below


def triton_attention(
    value_BNHD: Tensor, sizes_hw: Sequence[Size], locations_BQHLP2: Tensor, weights_BQHLP: Tensor
) -> Tensor:
    """(B, Q, H·D): see `deformable_attention`. Differentiable once."""
    out: Tensor = _Fused.apply(tuple(sizes_hw), value_BNHD, locations_BQHLP2, weights_BQHLP)
    return out


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sizes_hw: tuple[Size, ...], value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        """(B, Q, H·D) of the weights' kind."""
        value, locations, weights = (each.contiguous() for each in (value, locations, weights))
        ctx.sizes_hw = sizes_hw
        ctx.save_for_backward(value, locations, weights)
        out = weights.new_empty(*locations.shape[:2], value.shape[2] * value.shape[3])
        rows, grid, settings = _launch(value, locations, "forward")
        if rows:
            levels = _levels(sizes_hw, value.device)
            given = (value, locations, weights, levels, out, rows, value.shape[1], locations.shape[1])
            with _on_its_device(value):
                forward_kernel[grid](*given, **settings)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, change: Tensor) -> tuple[None, Tensor, Tensor, Tensor]:
        """Gradients of value, locations and weights, each of its own kind."""
        value, locations, weights = ctx.saved_tensors
        exact = torch.are_deterministic_algorithms_enabled()
        sums = torch.zeros(value.shape, dtype=torch.int64 if exact else torch.float32, device=value.device)
        to_locations, to_weights = torch.empty_like(locations), torch.empty_like(weights)
        rows, grid, settings = _launch(value, locations, "backward")
        per_one = _per_one(change, weights) if exact and rows else sums.new_ones(1, dtype=torch.float32)
        if rows:
            levels = _levels(ctx.sizes_hw, value.device)
            given = (value, locations, weights, levels, change.contiguous(), per_one)
            made = (sums, to_locations, to_weights)
            with _on_its_device(value):
                backward_kernel[grid](*given, *made, rows, value.shape[1], locations.shape[1], EXACT=exact, **settings)
        to_value = (sums.double() / per_one).to(value.dtype) if exact else sums.to(value.dtype)
        return None, to_value, to_locations, to_weights


def _on_its_device(value: Tensor) -> AbstractContextManager[None]:
    """Where a kernel has to be launched: Triton takes the current device, whichever its arguments lie on."""
    device: AbstractContextManager[None] = torch.cuda.device_of(value)  # type: ignore[no-untyped-call]  # PyTorch's is untyped
    return device


def _launch(value: Tensor, locations: Tensor, which: str) -> tuple[int, tuple[int], dict[str, int]]:
    """The rows, how many programs share them, and what a kernel is compiled for."""
    heads, width = value.shape[2:]
    rows = locations.shape[0] * locations.shape[1] * heads
    channels = triton.next_power_of_2(width)
    step = max(1, _TILE[which] // channels)
    levels, points = locations.shape[3], locations.shape[4]
    settings = {"H": heads, "D": width, "L": levels, "P": points, "ROWS": step, "CHANNELS": channels}
    return rows, (triton.cdiv(rows, step),), settings


@lru_cache(maxsize=256)
def _levels(sizes_hw: tuple[Size, ...], device: torch.device) -> Tensor:
    """(L, 3) on the device: height, width and first token of each level. Kept: sizes repeat from step to step."""
    starts = [sum(h * w for h, w in sizes_hw[:level]) for level in range(len(sizes_hw))]
    return torch.tensor([[h, w, at] for (h, w), at in zip(sizes_hw, starts)], dtype=torch.int32, device=device)


def _per_one(change: Tensor, weights: Tensor) -> Tensor:
    """(1,): how many units of whole numbers make one: a power of two, so that scaling rounds nothing.

    No part is larger than the largest change times the largest weight, and no cell has more parts than points of a head
    of a picture. Where either is not finite the gradient becomes NaN, as a gradient scaler expects.
    """
    parts = weights.shape[1] * weights.shape[3] * weights.shape[4]
    largest = (change.abs().amax().float() * weights.abs().amax().float()).double()
    units = torch.exp2(torch.floor(torch.log2(_LARGEST / (parts * largest))).clamp(max=120))
    return torch.where(torch.isfinite(largest), units, float("nan")).float().reshape(1)
