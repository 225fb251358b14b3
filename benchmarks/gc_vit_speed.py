"""GC-ViT on the CPU against timm's gcvit of the same size, and what each step of ours gains.

    python benchmarks/gc_vit_speed.py [--sizes xxtiny …] [--batch 4] [--size 224] [--rounds 9] [--threads 1]

Both have random weights and as many parameters (checked first). `without STEP` is our encoder with that one step undone
(its numbers are checked against ours first), so that its ratio to ours tells what the step gains. The ways take turns,
round by round, and a ratio is the median over the rounds of a way's time over timm's in the same round. Time is the
processor's (with --clock wall the clock's), which other work on the machine changes little. Peak memory is that of a
fresh process for each way: its resident set above what it held before the first call. Fails where our encoder takes
more than timm's time.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from statistics import median
from typing import Any
from unittest.mock import patch

import timm
import torch
from timing import CLOCKS, added_mb, child_says, in_turns, ratio
from torch import Tensor, nn
from torch.nn import functional

from espalier import backbones
from espalier.backbones.families.gc_vit import attention, convolutions, level, query

AIM = 1.0
SIZES = ("xxtiny", "xtiny", "tiny")
SAME = 1e-4  # relative to the largest value: float32 in another order
STEPS = {
    "fused": "scaled_dot_product_attention where the bias needs no gradient, as in evaluation",
    "plain": "three plain steps where it does: no fused kernel of the CPU has that gradient",
    "bias": "the bias gathered along the table's last axis",
    "sums": "residual sums in the branch's memory: for the peak, not for time",
    "linear": "1×1 convolutions as linear layers",
    "channels_last": "maps with the channels last in memory: no copy between convolutions and attention",
}
WAYS = ("timm", "ours", *(f"without {step}" for step in STEPS))


# ---- steps undone ----------------------------------------------------------------------------------------------------


def undone(step: str) -> AbstractContextManager[Any]:
    """While it is open, our encoder does without the step."""
    stack = ExitStack()
    for place, name, other in UNDONE[step]:
        stack.enter_context(patch.object(place, name, other))
    return stack


def by_hand(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-2, -1)).add_(bias)
    return torch.matmul(scores.softmax(dim=-1), v)


def fused(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, *, evaluating: Any, training: Any) -> Tensor:
    mixed: Tensor = (training if bias.requires_grad else evaluating)(q, k, v, bias)
    return mixed


def indexed_bias(self: attention.WindowAttention, hidden: Tensor | None) -> Tensor:
    bias_hNN = self.bias_table[self.index_NN].permute(2, 0, 1)
    return bias_hNN[None] if hidden is None else bias_hNN + hidden


def convolved(self: convolutions.Mix, map_BHWC: Tensor) -> Tensor:
    mixed = functional.gelu(convolutions.back(self.depthwise(convolutions.planes(map_BHWC))))
    pointwise = self.pointwise(convolutions.planes(mixed * self.gate(mixed)))
    return convolutions.added(map_BHWC, convolutions.back(pointwise))


def planes(map_BHWC: Tensor) -> Tensor:
    return map_BHWC.permute(0, 3, 1, 2).contiguous()


def back(map_BCHW: Tensor) -> Tensor:
    return map_BCHW.permute(0, 2, 3, 1).contiguous()


UNDONE: Mapping[str, list[tuple[Any, str, Any]]] = {
    "fused": [(attention, "attend", partial(attend, evaluating=by_hand, training=by_hand))],
    "plain": [(attention, "attend", partial(attend, evaluating=fused, training=fused))],
    "bias": [(attention.WindowAttention, "_bias", indexed_bias)],
    "sums": [(place, "added", torch.add) for place in (convolutions, level)],
    "linear": [(convolutions.Mix, "forward", convolved)],
    "channels_last": [(place, f.__name__, f) for place in (convolutions, query) for f in (planes, back)],
}


# ---- measuring -------------------------------------------------------------------------------------------------------


def encoders(size: str) -> dict[str, nn.Module]:
    """Ours and timm's, random weights. Raises AssertionError unless they are as large."""
    torch.manual_seed(0)
    made: dict[str, nn.Module] = {
        "ours": backbones.create(f"gc_vit_{size}", out="embedding"),
        "timm": timm.create_model(f"gcvit_{size}", num_classes=0),
    }
    assert len({sum(p.numel() for p in encoder.parameters()) for encoder in made.values()}) == 1
    return made


def run(made: Mapping[str, nn.Module], way: str, image_BCHW: Tensor) -> Tensor:
    """The embedding."""
    if way == "timm":
        theirs: Tensor = made["timm"](image_BCHW)
        return theirs
    with undone(way.removeprefix("without ")) if way != "ours" else ExitStack():
        ours: Tensor = made["ours"](image_BCHW)[0]
        return ours


def forward(made: Mapping[str, nn.Module], way: str, image_BCHW: Tensor) -> None:
    """As in evaluation."""
    made["timm" if way == "timm" else "ours"].eval()
    with torch.no_grad():
        run(made, way, image_BCHW)


def both(made: Mapping[str, nn.Module], way: str, image_BCHW: Tensor) -> None:
    """Forward and backward, as in training."""
    encoder = made["timm" if way == "timm" else "ours"].train()
    encoder.zero_grad(set_to_none=True)
    run(made, way, image_BCHW).square().mean().backward()  # type: ignore[no-untyped-call]


WORK = {"forward": forward, "forward+backward": both}
MATTERS = {"forward": {"fused", "bias", "sums", "linear", "channels_last"}, "forward+backward": set(STEPS) - {"fused"}}
"""Where a step changes anything."""


def ways(kind: str) -> list[str]:
    """Those that differ in this work."""
    return [way for way in WAYS if way.removeprefix("without ") in {"timm", "ours"} | MATTERS[kind]]


def check(made: Mapping[str, nn.Module], image_BCHW: Tensor) -> None:
    """Raises AssertionError unless our encoder gives the same with each step undone."""
    made["ours"].eval()
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            expected = run(made, "ours", image_BCHW)
            for way in WAYS[2:]:
                difference = (run(made, way, image_BCHW) - expected).abs().max() / expected.abs().max()
                assert difference <= SAME, f"{way}: differs by {difference:.1e}"


def peak_mb(size: str, way: str, kind: str, options: argparse.Namespace) -> float:
    """The peak of a fresh process."""
    shape = ["--batch", str(options.batch), "--size", str(options.size), "--threads", str(options.threads)]
    return child_says(__file__, ["--child", size, way, kind, *shape])


def measure_peak(options: argparse.Namespace) -> None:
    """What `peak_mb` starts: prints the megabytes that one call adds."""
    size, way, kind = options.child
    made = encoders(size)
    image_BCHW = torch.randn(options.batch, 3, options.size, options.size)
    print(json.dumps(added_mb(partial(WORK[kind], made, way, image_BCHW))))


def measure(size: str, kind: str, options: argparse.Namespace) -> float:
    """A table; the ratio of ours to timm's."""
    made = encoders(size)
    image_BCHW = torch.randn(options.batch, 3, options.size, options.size)
    check(made, image_BCHW[:1])
    work = {way: partial(WORK[kind], made, way, image_BCHW) for way in ways(kind)}
    times = in_turns(work, rounds=options.rounds, clock=CLOCKS[options.clock])
    print(f"\n{size}, {kind}, batch {options.batch} at {options.size} px")
    print(f"  {'':24s} {'ms a picture':>12s} {'of timm':>8s} {'of ours':>8s} {'peak MB':>8s}")
    for way, taken in times.items():
        peak = f"{peak_mb(size, way, kind, options):8.0f}" if options.memory else ""
        of = [f"{ratio(taken, times[other]):8.3f}" for other in ("timm", "ours")]
        print(f"  {way:24s} {1000 * median(taken) / options.batch:12.1f} {of[0]} {of[1]} {peak}", flush=True)
    return ratio(times["ours"], times["timm"])


def main() -> int:
    """0 when ours takes no more than timm's time, everywhere."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    parser.add_argument("--no-memory", dest="memory", action="store_false")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.child:
        measure_peak(options)
        return 0
    for step, words in STEPS.items():
        print(f"{step:14s} {words}")
    print(
        f"torch {torch.__version__}, timm {timm.__version__}, {options.threads} threads, {platform.machine()}, "
        f"{options.rounds} rounds in turns"
    )
    ratios = [measure(size, kind, options) for size in options.sizes for kind in WORK]
    print(f"\nworst: {max(ratios):.3f} of timm's time (aim: at most {AIM})")
    return 0 if max(ratios) <= AIM else 1


if __name__ == "__main__":
    sys.exit(main())
