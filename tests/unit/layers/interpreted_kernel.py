"""What test_deformable_kernel.py starts with Triton's interpreter switched on: prints the kernel's errors as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from espalier.layers import deformable_attention_ways as ways
from espalier.layers.deformable_attention_standard import standard_attention
from espalier.layers.deformable_attention_triton import triton_attention

SHAPES = {  # sizes, heads, channels, points, queries
    "one level, one point": ([(3, 4)], 1, 16, 1, 3),
    "five levels": ([(4, 3), (3, 2), (2, 2), (2, 1), (1, 1)], 2, 20, 2, 2),
    "eight points, wide": ([(2, 5), (1, 1)], 2, 64, 8, 2),
    "no query": ([(2, 2)], 2, 16, 1, 0),
}


def errors_of(shape: tuple[list[tuple[int, int]], int, int, int, int], kind: torch.dtype, *, exact: bool) -> float:
    """The kernel against standard operators in double precision."""
    sizes_hw, heads, width, points, queries = shape
    made = torch.Generator().manual_seed(1)
    value = torch.randn(2, sum(h * w for h, w in sizes_hw), heads, width, generator=made).to(kind)
    places = torch.rand(2, queries, heads, len(sizes_hw), points, 2, generator=made) * 1.6 - 0.3
    weights = torch.rand(2, queries, heads, len(sizes_hw), points, generator=made)

    def answer(way: ways.Way, given: list[torch.Tensor]) -> list[torch.Tensor]:
        leaves = [each.clone().requires_grad_() for each in given]
        out = way(leaves[0], sizes_hw, *leaves[1:])
        change = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape)
        return [out.detach(), *torch.autograd.grad(out, leaves, change)]

    torch.use_deterministic_algorithms(exact)
    found = answer(triton_attention, [value, places, weights])
    expected = answer(standard_attention, [each.double() for each in (value, places, weights)])
    if not queries:
        return float(found[0].numel() + found[1].abs().sum())
    return max(ways._error(a, b) for a, b in zip(found, expected))


def main() -> None:
    """One line of JSON: name → error."""
    told = {}
    for name, shape in SHAPES.items():
        for exact in (False, True):
            told[f"{name}, {'exact' if exact else 'any order'}"] = errors_of(shape, torch.float32, exact=exact)
    for kind in (torch.float16, torch.bfloat16):
        told[str(kind)] = errors_of(SHAPES["one level, one point"], kind, exact=False)
    if len(sys.argv) > 1:
        told["published"] = published(Path(sys.argv[1]))
    print(json.dumps(told))


def published(folder: Path) -> float:
    """Against the published operator's numbers."""
    import numpy as np

    stored = np.load(folder / "deformable_attention_op.npz")
    facts = json.loads((folder / "deformable_attention_op.json").read_text())
    sizes_hw = [tuple(size) for size in facts["spatial_shapes_hw"]]
    names = ("value", "sampling_locations", "attention_weights")
    leaves = [torch.tensor(stored[name]).float().requires_grad_() for name in names]
    out = triton_attention(leaves[0], sizes_hw, *leaves[1:])
    gradients = torch.autograd.grad(out, leaves, torch.tensor(stored["grad_output"]).float().reshape(out.shape))
    wanted = [torch.tensor(stored[name]).double() for name in ("output", *(f"grad_{name}" for name in names))]
    return max(ways._error(a, b.reshape(a.shape)) for a, b in zip([out.detach(), *gradients], wanted))


if __name__ == "__main__":
    main()
