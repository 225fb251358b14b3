"""Deformable attention of an encoder layer on the CPU against standard operators: time, with equal numbers.

    OMP_NUM_THREADS=1 python benchmarks/deformable_attention.py [--rounds 3]

A batch of 2 at 480×640: 6,380 tokens on four levels ask four points each of 8 heads. The ways take turns; times are the
processor's. Fails where outputs or gradients differ by more than 1e-3 of the largest.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from timing import CLOCKS, in_turns, ratio
from torch import Tensor

from espalier.layers.deformable_attention_cpu import cpu_attention
from espalier.layers.deformable_attention_standard import standard_attention

SIZES_HW = ((60, 80), (30, 40), (15, 20), (8, 10))
WAYS: dict[str, Callable[..., Tensor]] = {"standard": standard_attention, "cpu": cpu_attention}
TOLERANCE = 1e-3


def leaves() -> list[Tensor]:
    """Value, locations around each token's own place, and weights."""
    torch.manual_seed(0)
    tokens = sum(h * w for h, w in SIZES_HW)
    value = torch.randn(2, tokens, 8, 32)
    places = torch.rand(2, tokens, 1, 1, 1, 2) + torch.randn(2, tokens, 8, 4, 4, 2) * 0.05
    weights = torch.randn(2, tokens, 8, 16).softmax(-1).reshape(2, tokens, 8, 4, 4)
    return [each.requires_grad_() for each in (value, places, weights)]


def forward(way: Callable[..., Tensor], given: list[Tensor]) -> Tensor:
    """The answer, without what backward needs."""
    with torch.no_grad():
        return way(given[0], SIZES_HW, *given[1:])


def step(way: Callable[..., Tensor], given: list[Tensor]) -> list[Tensor]:
    """The answer and the gradients of its sum of squares."""
    out = way(given[0], SIZES_HW, *given[1:])
    return [out.detach(), *torch.autograd.grad(out.square().sum(), given)]


def main() -> int:
    """0 when both ways say the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    given = leaves()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, one thread, torch {torch.__version__}, {datetime.date.today()}"
    )
    said = {name: step(way, given) for name, way in WAYS.items()}
    pairs = zip(said["standard"], said["cpu"], strict=True)
    error = max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)
    for name, work in (("forward", forward), ("forward + backward", step)):
        ways = {way_name: partial(work, way, given) for way_name, way in WAYS.items()}
        taken = in_turns(ways, rounds=options.rounds, clock=CLOCKS["cpu"])
        each = ", ".join(f"{way_name} {median(times) * 1e3:.0f} ms" for way_name, times in taken.items())
        print(f"{name}: {each}; ratio {ratio(taken['cpu'], taken['standard']):.2f}")
    print(f"largest difference over the largest number: {error:.1e} (limit {TOLERANCE:g})")
    return int(error > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
