"""Which way deformable attention is computed: standard operators, rows of a table on a CPU, or a fused kernel."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

from espalier.layers.deformable_attention_cpu import cpu_attention
from espalier.layers.deformable_attention_standard import Size, standard_attention

Way = Callable[[Tensor, Sequence[Size], Tensor, Tensor], Tensor]

TOLERANCE = 1e-3  # of the largest value, beside the rounding of the kind that a result is kept in
_SIZES: Sequence[Size] = ((9, 12), (5, 6), (1, 3))
_SHAPES = ((32, 4), (24, 3))  # channels of a head, points: a power of two, and not


@dataclass(frozen=True)
class Verdict:
    """Is the fused kernel used, and why (not)?"""

    fused: bool
    reason: str


def way_for(value_BNHD: Tensor, locations_BQHLP2: Tensor) -> Way:
    """Standard operators wherever a graph is being written down, and on a device that has no faster way."""
    if _traced(value_BNHD):
        return standard_attention
    if value_BNHD.device.type == "cpu":
        return cpu_attention
    if locations_BQHLP2.dtype != torch.float64 and verdict(value_BNHD.device, value_BNHD.dtype).fused:
        return _kernel()
    return standard_attention


@lru_cache(maxsize=64)
def verdict(device: torch.device, kind: torch.dtype) -> Verdict:
    """Whether the kernel gives what standard operators give on this device; asked once, and logged."""
    found = _examined(device, kind)
    way = "one fused kernel" if found.fused else "standard operators"
    logging.getLogger(__name__).info("deformable attention on %s in %s: %s: %s", device, kind, way, found.reason)
    return found


def _examined(device: torch.device, kind: torch.dtype) -> Verdict:
    if device.type != "cuda":
        return Verdict(False, f"the kernel is for CUDA, not for {device.type}")
    if find_spec("triton") is None:
        return Verdict(False, "Triton isn't installed")
    if kind not in (torch.float32, torch.float16, torch.bfloat16):
        return Verdict(False, f"the kernel knows no {kind}")
    try:
        error = largest_error(_kernel(), device, kind)
    except Exception as raised:  # noqa: BLE001  # a compiler, a driver or a device may fail in any way
        first = (str(raised).splitlines() or [""])[0]
        return Verdict(False, f"the kernel did not run: {type(raised).__name__}: {first}")
    words = f"it differs from standard operators by {error:.1e}, gradients included, where {TOLERANCE:g} is allowed"
    return Verdict(error <= TOLERANCE, words)


def largest_error(way: Way, device: torch.device, kind: torch.dtype) -> float:
    """The largest difference from standard operators, output and gradients, relative to each one's largest value.

    Some points lie outside. What the kind of a result rounds away isn't counted. Both sums of the value's gradient are
    asked: that of any order, and that of deterministic algorithms.
    """
    errors = []
    with torch.autocast(device.type, enabled=False), torch.enable_grad():
        for width, points in _SHAPES:
            given = _drawn(width, points, device, kind)
            expected = _answer(standard_attention, [each.double() for each in given])
            for exact in (False, True):
                with _deterministic(exact):
                    found = _answer(way, given)
                errors += [_error(a, b) for a, b in zip(found, expected)]
    return max(errors)


def _drawn(width: int, points: int, device: torch.device, kind: torch.dtype) -> list[Tensor]:
    """Value, locations and weights, by a generator of their own: a training's chance goes on as if nobody had asked."""
    made = torch.Generator().manual_seed(0)
    tokens, heads = sum(h * w for h, w in _SIZES), 3
    value = torch.randn(2, tokens, heads, width, generator=made).to(device, kind)
    places = torch.rand(2, 17, heads, len(_SIZES), points, 2, generator=made) * 1.4 - 0.2
    weights = torch.rand(2, 17, heads, len(_SIZES), points, generator=made)
    return [value, places.to(device), weights.to(device)]


def _answer(way: Way, given: Sequence[Tensor]) -> list[Tensor]:
    """The output, and the gradients of value, locations and weights."""
    value, places, weights = (each.clone().requires_grad_() for each in given)
    out = way(value, _SIZES, places, weights)
    change = torch.linspace(-1, 1, out.numel(), dtype=out.dtype, device=out.device).reshape(out.shape)
    return [out.detach(), *torch.autograd.grad(out, [value, places, weights], change)]


def _error(found: Tensor, expected: Tensor) -> float:
    rounding = torch.finfo(found.dtype).eps * expected.abs()
    over = ((found.double() - expected).abs() - rounding).clamp(min=0)
    error = float(over.amax() / expected.abs().amax())
    return error if error == error else float("inf")  # NaN is no agreement


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    """Deterministic algorithms on or off inside; the process's own setting afterwards."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@lru_cache(maxsize=1)
def _kernel() -> Way:
    from espalier.layers.deformable_attention_triton import triton_attention  # Triton isn't on every system

    return triton_attention


def _traced(tensor: Tensor) -> bool:
    """Is it a stand-in of an exporter, a compiler or a tracer, that has no numbers?"""
    compiling: bool = torch.compiler.is_compiling()
    tracing = torch._C._get_tracing_state() is not None
    return compiling or tracing or type(tensor) not in (Tensor, torch.nn.Parameter)
