"""SegFormer-B0 on the CPU against transformers' of the same configuration: forward and training step, time and memory.

    OMP_NUM_THREADS=1 python benchmarks/segformer_speed.py [--rounds 3] [--size 512] [--batch 1]

Needs an environment with transformers. Both have random weights, 150 classes and as many parameters (checked first, but
for a layer that the published code keeps and never uses). Forward gives logits at stride 4; ours also with the graph's
own `class`, which transformers leaves to its user. A step is forward, cross entropy at the picture's size, backward.
The ways take turns; times are the processor's. Peak memory is what a call adds in a fresh process for each way. Fails
where ours takes more than 0.9 of transformers' time or memory for the same work.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from timing import CLOCKS, added_mb, child_says, in_turns, ratio
from torch import Tensor, nn

from espalier.actions.models import lookup
from espalier.layers.model import Batch
from espalier.networks import card as cards
from espalier.networks import registry
from espalier.spec.facts import Facts
from espalier.spec.load import load_spec
from espalier.spec.resolve import resolve

CLASSES = tuple(f"class {n}" for n in range(150))
AIM = 0.9
MORE = "ours: forward with class"  # more work than the peer's: shown, not held to the aim


def ours(size: int) -> nn.Module:
    """Our SegFormer-B0."""
    backbone = {"name": "mit_b0", "weights": "none"}
    asked = {"network": {"name": "segformer", "preset": "segformer_b0_ade_512", "backbone": backbone,
                         "input": {"size_hw": [size, size]}}}  # fmt: skip
    spec = resolve(load_spec(asked, lookup=lookup), Facts(n_train=100, classes=CLASSES))[0].network
    assert spec is not None
    model: nn.Module = cards.build(registry.get("segformer"), spec, CLASSES)
    return model


def theirs() -> nn.Module:
    """transformers' SegFormer-B0, whose configuration's defaults are B0's."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    model: nn.Module = SegformerForSemanticSegmentation(SegformerConfig(num_labels=len(CLASSES)))
    return model


def pictures(size: int, batch: int) -> tuple[Tensor, Tensor]:
    """Drawn pictures and the class of each of their pixels."""
    torch.manual_seed(0)
    return torch.randn(batch, 3, size, size), torch.randint(0, len(CLASSES), (batch, size, size))


def call(way: str, size: int, batch: int) -> Callable[[], object]:
    """What is timed."""
    image, target = pictures(size, batch)
    who, what = way.split(": ")
    model = ours(size) if who == "ours" else theirs()
    if what == "step":
        model.train()
        batch_ = Batch(inputs={"image": image}, targets={"class_HW": target})
        loss = (lambda: model.losses(batch_)["total"]) if who == "ours" else lambda: model(image, labels=target).loss
        return lambda: loss().backward()
    model.eval()
    run = model if what == "forward with class" or who == "theirs" else model.logits
    return partial(without_gradients, run, image)


def without_gradients(run: Callable[[Tensor], object], image: Tensor) -> object:
    """The answer alone."""
    with torch.no_grad():
        return run(image)


GROUPS = {
    "theirs: forward": ("ours: forward", MORE),
    "theirs: step": ("ours: step",),
}


def main() -> int:
    """0 when ours keeps to the aims."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.child:
        print(json.dumps(added_mb(call(options.child, options.size, options.batch))))
        return 0
    cores, today = os.cpu_count(), datetime.date.today()
    print(f"{platform.machine()}, {cores} cores, one thread, torch {torch.__version__}, {today}")
    counts = [sum(p.numel() for p in model.parameters()) for model in (ours(options.size), theirs())]
    assert counts[0] == counts[1], counts
    kept = [compare(peer, own, options) for peer, own in GROUPS.items()]
    return int(not all(kept))


def compare(peer: str, own: tuple[str, ...], options: argparse.Namespace) -> bool:
    """Prints times and peaks beside the peer's; do ours keep to the aims?"""
    ways = {way: call(way, options.size, options.batch) for way in (peer, *own)}
    taken = in_turns(ways, rounds=options.rounds, clock=CLOCKS["cpu"])
    shape = ["--size", str(options.size), "--batch", str(options.batch)]
    peak = {way: child_says(__file__, ["--child", way, *shape]) for way in ways}
    kept = True
    for way in ways:
        time_ratio, memory_ratio = ratio(taken[way], taken[peer]), peak[way] / peak[peer]
        kept &= way in (peer, MORE) or max(time_ratio, memory_ratio) <= AIM
        print(f"{way:26s} {median(taken[way]):6.2f} s {time_ratio:5.2f}   {peak[way]:6.0f} MB {memory_ratio:5.2f}")
    return kept


if __name__ == "__main__":
    sys.exit(main())
