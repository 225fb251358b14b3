"""A detector's training step (forward, losses, backward) against transformers' Deformable DETR, configured the same.

    python benchmarks/detection_step.py [--rounds 3] [--batch 2] [--size 480 640] [--threads 1] [--no-memory]

Needs transformers 5.24 beside Espalier (an environment of its own; without it only ours are timed). ResNet-50 of random
weights, 300 queries, 4 levels, 5 to 10 boxes a picture, dropout 0.1; stem and first stage are frozen in both, as
published. Ours are the plain Deformable DETR, and DINO with denoising (dropout 0, as published). `standard` is our
Deformable DETR with deformable attention of standard operators, as on a device without a faster way. They take turns,
round by round; a ratio is the median over the rounds of a way's time over transformers' in the same round, in the
processor's time (--clock wall: the clock's). Peak memory is that of a fresh process for each way, above what it held
after a step on a small picture. The share of matching and losses is that of `losses` and its backward pass down to
the answers. Fails where an aim is missed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from timing import CLOCKS, added_mb, child_says, in_turns, ratio, seconds
from torch import Tensor, nn

from espalier.layers import deformable_attention
from espalier.layers.deformable_attention_standard import standard_attention
from espalier.layers.model import Batch
from espalier.networks.deformable_detr.model import DeformableDetr
from espalier.networks.deformable_detr.spec import DeformableDetrSpec
from espalier.networks.dino.model import Dino
from espalier.networks.dino.spec import DinoSpec

CLASSES = 91
PEER, OURS, STANDARD, DINO = "transformers", "deformable_detr", "standard", "dino"
AIMS = {OURS: (0.8, 0.9), DINO: (1.85, None)}  # of transformers' time and of its peak memory
SHARE = 0.10  # matching and losses of a step
SMALL = (128, 192)  # a picture of the warm-up before the memory of a step is taken
Step = Callable[[Batch], object]


# ---- what is measured ------------------------------------------------------------------------------------------------


def drawn(count: int, size_hw: Sequence[int]) -> Batch:
    """Noise with 5 to 10 boxes a picture."""
    made = torch.Generator().manual_seed(0)
    height, width = size_hw
    counts = [5 + n % 6 for n in range(count)]
    classes = [torch.randint(0, CLASSES, (n,), generator=made) for n in counts]
    boxes = [torch.rand(n, 4, generator=made) * 0.3 + 0.2 for n in counts]
    image = torch.randn(count, 3, height, width, generator=made)
    valid = torch.tensor([[height, width]] * count)
    return Batch({"image": image, "valid_hw": valid}, {"class_N": classes, "box_N4": boxes})


def ours(name: str) -> nn.Module:
    """One of our detectors as it trains."""
    torch.manual_seed(0)
    given: dict[str, Any] = {"backbone": {"name": "timm/resnet50"}, "queries": 300}
    classes = [str(n) for n in range(CLASSES)]
    model: nn.Module
    if name == OURS:
        model = DeformableDetr(DeformableDetrSpec(**given, refine=False, two_stage=False, dropout=0.1), classes)
    else:
        model = Dino(DinoSpec(**given, dropout=0.0), classes)
    freeze(model, "backbone.")
    return model.train()


def theirs() -> nn.Module:
    """transformers' Deformable DETR."""
    from transformers import DeformableDetrConfig, DeformableDetrForObjectDetection, TimmBackboneConfig

    torch.manual_seed(0)
    backbone = TimmBackboneConfig(backbone="resnet50", out_indices=[2, 3, 4], use_pretrained_backbone=False)
    config = DeformableDetrConfig(
        backbone_config=backbone,
        disable_custom_kernels=True,
        auxiliary_loss=True,
        num_labels=CLASSES,
        class_cost=2,
    )
    model: nn.Module = DeformableDetrForObjectDetection(config)
    freeze(model, "model.backbone.")
    return model.train()


def freeze(model: nn.Module, prefix: str) -> None:
    """The backbone's parameters outside of its last three stages."""
    for name, parameter in model.named_parameters():
        if name.startswith(prefix) and not any(stage in name for stage in ("layer2", "layer3", "layer4")):
            parameter.requires_grad_(False)


def step_of(way: str, *, device: torch.device | str = "cpu") -> Step:
    """A training step on a batch of the device."""
    if way == PEER:
        return partial(their_step, theirs().to(device))
    return partial(our_step, ours(OURS if way == STANDARD else way).to(device), way == STANDARD)


def our_step(model: Any, standard: bool, batch: Batch) -> None:
    """With `standard`, deformable attention by standard operators."""
    model.zero_grad(set_to_none=True)
    way = (lambda *given: standard_attention) if standard else deformable_attention.way_for
    with patch.object(deformable_attention, "way_for", way):
        model.losses(batch)["total"].backward()


def their_step(model: Any, batch: Batch) -> None:
    model.zero_grad(set_to_none=True)
    image = batch.inputs["image"]
    labels = [
        {"class_labels": classes, "boxes": boxes}
        for classes, boxes in zip(batch.targets["class_N"], batch.targets["box_N4"])
    ]
    mask = torch.ones(len(image), *image.shape[2:], dtype=torch.long, device=image.device)
    model(pixel_values=image, pixel_mask=mask, labels=labels).loss.backward()


# ---- matching and losses alone ---------------------------------------------------------------------------------------


def scoring(model: Any, batch: Batch) -> Callable[[], None]:
    """`losses` and its backward pass with the answers given: matching and losses, and denoising's draws."""
    seen: dict[str, Any] = {}
    names = ("encode", "decoded" if hasattr(model, "decoded") else "answers")

    def kept(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            seen[name] = cut(real(*args, **kwargs))
            return seen[name]

        return call

    with torch.no_grad(), patch.multiple(model, **{name: kept(name, getattr(model, name)) for name in names}):
        model.losses(batch)

    def work() -> None:
        with patch.multiple(model, **{name: lambda *_, _given=seen[name], **__: _given for name in names}):
            model.losses(batch)["total"].backward()

    return work


def cut(value: Any) -> Any:
    """The same with leaves of the graph of gradients for tensors."""
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.is_floating_point())
    if dataclasses.is_dataclass(value):
        named = {each.name: cut(getattr(value, each.name)) for each in dataclasses.fields(value)}
        return dataclasses.replace(value, **named)  # type: ignore[type-var]  # is_dataclass is true of classes too
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(cut, value))
    return type(value)(map(cut, value)) if isinstance(value, list | tuple) else value


# ---- measuring -------------------------------------------------------------------------------------------------------


def measure_peak(options: argparse.Namespace) -> None:
    """What a child does: prints the megabytes that a step adds."""
    step = step_of(options.child)
    step(drawn(1, SMALL))  # whatever is loaded at the first call
    print(json.dumps(added_mb(partial(step, drawn(options.batch, options.size)))))


def peak(way: str, options: argparse.Namespace) -> float:
    """Of a fresh process."""
    shape = ["--batch", str(options.batch), "--threads", str(options.threads), "--size", *map(str, options.size)]
    return child_says(__file__, ["--child", way, *shape])


def main() -> int:
    """0 when every aim that could be asked is met."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    parser.add_argument("--no-memory", dest="memory", action="store_false")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.child:
        measure_peak(options)
        return 0
    return compare(options)


def compare(options: argparse.Namespace) -> int:
    """A table; 0 when every aim that could be asked is met."""
    batch, clock = drawn(options.batch, options.size), CLOCKS[options.clock]
    ways = [OURS, STANDARD, DINO]
    if find_spec("transformers"):
        ways.insert(0, PEER)
    else:
        print("transformers isn't installed: only ours are timed, and no aim is asked")
    first = ways[0]
    times = in_turns({way: partial(step_of(way), batch) for way in ways}, rounds=options.rounds, clock=clock)
    height, width = options.size
    words = f"{options.threads} threads, {platform.machine()}, batch {options.batch} at {height}×{width}"
    print(f"torch {torch.__version__}, {words}, {options.rounds} rounds in turns")
    print(f"  {'':16s} {'s a step':>9s} {'of ' + first:>20s} {'peak MB':>9s} {'of it':>6s} {'matching + losses':>18s}")
    peaks = {way: peak(way, options) if options.memory else float("nan") for way in ways}
    missed = []
    for way in ways:
        of, memory = ratio(times[way], times[first]), peaks[way] / peaks[first]
        share = scored_share(way, batch, times[way], clock) if way in (OURS, DINO) else None
        told = f"{share:18.1%}" if share is not None else ""
        print(f"  {way:16s} {median(times[way]):9.2f} {of:20.3f} {peaks[way]:9.0f} {memory:6.2f} {told}", flush=True)
        missed += misses(way, of, memory, share) if first == PEER else []
    print("every aim is met" if not missed else f"missed: {', '.join(missed)}")
    return 1 if missed else 0


def scored_share(way: str, batch: Batch, times: list[float], clock: Callable[[], float]) -> float:
    """Of a step that matching and losses take."""
    work = scoring(ours(way), batch)
    work()
    return median(seconds(work, clock) for _ in range(5)) / median(times)


def misses(way: str, of: float, memory: float, share: float | None) -> list[str]:
    """The aims that this way misses."""
    time_aim, memory_aim = AIMS.get(way, (None, None))
    told = [f"{way} takes {of:.2f} of the time (aim {time_aim})"] if time_aim and of > time_aim else []
    told += [f"{way} takes {memory:.2f} of the memory (aim {memory_aim})"] if memory_aim and memory > memory_aim else []
    return told + ([f"{way}: matching and losses are {share:.0%}"] if share is not None and share > SHARE else [])


if __name__ == "__main__":
    sys.exit(main())
