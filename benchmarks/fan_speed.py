"""FAN on the CPU against a plain transcription of its formulas, and what each step between the two gains.

    python benchmarks/fan_speed.py [--encoders NAME …] [--batch 4] [--size 224] [--rounds 9] [--threads 1]

The transcription (`Plain`, below) writes the formulas down with the encoder's own weights: attention with its matrix of
tokens by tokens, maps in (B, C, H, W) order, norms by mean and variance. Each step changes one thing, on top of the
steps before; the last row is the encoder itself. All give the same numbers (checked first). The ways take turns, round
by round, and the ratio is the median over the rounds of a way's time over the transcription's in the same round. Time
is the processor's (with --clock wall the clock's), which other work on the machine changes little. Peak memory is that
of a fresh process for each way: its resident set above what it held before the first call. Fails where the encoder
takes more than 0.8 of the transcription's time.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from timing import CLOCKS, added_mb, child_says, in_turns, ratio
from torch import Tensor
from torch.nn import functional

from espalier import backbones
from espalier.backbones.families.fan.model import Fan

AIM = 0.8
ENCODERS = ("fan_tiny_8_p4_hybrid", "fan_tiny_12_p16_224")
STEPS = {
    "channels_last": "maps with the channels last in memory: no copy between tokens and maps",
    "attention": "scaled_dot_product_attention in place of a matrix of tokens by tokens",
    "norm": "the channel norm, unbiased or not, as one layer_norm",
    "pointwise": "1×1 convolutions as linear layers",
    "scale": "layer scales folded into weights, the channels' gate into the residual sum",
    "class": "the class token's key and value layers folded into its own side",
}
OURS = "encoder"
WAYS = ("plain", *STEPS, OURS)
SAME = 2e-4  # relative to the largest value: float32 in another order


class Plain:
    """The embedding of a Fan by its formulas; `steps` are those that are already taken."""

    def __init__(self, encoder: Fan, steps: frozenset[str]) -> None:
        self.encoder, self.steps = encoder, steps
        self.tensors: dict[str, Tensor] = {**dict(encoder.named_parameters()), **dict(encoder.named_buffers())}

    def __call__(self, image_BCHW: Tensor) -> Tensor:
        if "channels_last" in self.steps:
            image_BCHW = image_BCHW.contiguous(memory_format=torch.channels_last)
        map_BCHW = self.convnext(image_BCHW) if self.encoder.size.hybrid else self.convolutions(image_BCHW)
        map_BCHW = map_BCHW + self.encoder.position(map_BCHW)
        height, width = map_BCHW.shape[2:]
        tokens = map_BCHW.flatten(2).transpose(1, 2)
        if "channels_last" not in self.steps:
            tokens = tokens.contiguous()
        for number in range(self.encoder.size.depth):
            tokens = self.block(f"blocks.{number}", tokens, height, width)
        tokens = torch.cat([self.tensors["class_token"].expand(len(tokens), -1, -1), tokens], dim=1)
        for number in range(2):
            tokens = self.class_block(f"class_blocks.{number}", tokens)
        return self.layer_norm("norm", tokens)[:, 0]

    # ---- patches -----------------------------------------------------------------------------------------------------

    def convolutions(self, map_BCHW: Tensor) -> Tensor:
        for number in range(4):
            map_BCHW = functional.gelu(map_BCHW) if number else map_BCHW
            map_BCHW = self.convolve(f"patches.convs.{number}.conv", map_BCHW, stride=2, padding=1)
            map_BCHW = self.batch_norm(f"patches.convs.{number}.norm", map_BCHW)
        return map_BCHW

    def convnext(self, map_BCHW: Tensor) -> Tensor:
        map_BCHW = self.convolve("patches.convnext.stem.conv", map_BCHW, stride=4)
        map_BCHW = self.channel_norm("patches.convnext.stem.norm", map_BCHW, unbiased=False)
        for stage, depth in enumerate(self.encoder.size.convnext_depths):
            name = f"patches.convnext.stages.{stage}"
            if stage:
                map_BCHW = self.channel_norm(f"{name}.downsample.norm", map_BCHW, unbiased=True)
                map_BCHW = self.convolve(f"{name}.downsample.conv", map_BCHW, stride=2)
            for block in range(depth):
                map_BCHW = self.convnext_block(f"{name}.blocks.{block}", map_BCHW)
        return self.convolve("patches.project", map_BCHW, stride=2)

    def convnext_block(self, name: str, map_BCHW: Tensor) -> Tensor:
        near = self.convolve(f"{name}.spatial", map_BCHW, padding=3, groups=map_BCHW.shape[1])
        wide = functional.gelu(self.convolve(f"{name}.expand", self.channel_norm(f"{name}.norm", near, unbiased=True)))
        scale = self.tensors[f"{name}.scale"]
        if "scale" in self.steps:
            return map_BCHW + self.convolve(f"{name}.reduce", wide, scale=scale)
        return map_BCHW + scale[:, None, None] * self.convolve(f"{name}.reduce", wide)

    def channel_norm(self, name: str, map_BCHW: Tensor, *, unbiased: bool) -> Tensor:
        if "norm" in self.steps:
            normed: Tensor = self.encoder.get_submodule(name)(map_BCHW)
            return normed
        mean = map_BCHW.mean(dim=1, keepdim=True)
        variance = map_BCHW.var(dim=1, keepdim=True, correction=int(unbiased))
        normed = (map_BCHW - mean) / torch.sqrt(variance + 1e-6)
        return normed * self.tensors[f"{name}.weight"][:, None, None] + self.tensors[f"{name}.bias"][:, None, None]

    # ---- blocks ------------------------------------------------------------------------------------------------------

    def block(self, name: str, x_BNC: Tensor, height: int, width: int) -> Tensor:
        token_scale, channel_scale = self.tensors[f"{name}.token_scale"], self.tensors[f"{name}.channel_scale"]
        told = self.told(f"{name}.token_attention", self.layer_norm(f"{name}.token_norm", x_BNC))
        project = f"{name}.token_attention.project"
        if "scale" in self.steps:
            x_BNC = x_BNC + self.linear(project, told, scale=token_scale)
        else:
            x_BNC = x_BNC + token_scale * self.linear(project, told)
        normed = self.layer_norm(f"{name}.channel_norm", x_BNC)
        value, gate = self.channel_attention(f"{name}.channel_attention", normed, height, width)
        if "scale" in self.steps:
            return torch.addcmul(x_BNC, channel_scale * gate, value)
        return x_BNC + channel_scale * (gate * value)

    def told(self, name: str, x_BNC: Tensor) -> Tensor:
        query = self.heads(self.linear(f"{name}.query", x_BNC))
        key, value = (self.heads(half) for half in self.linear(f"{name}.key_value", x_BNC).chunk(2, dim=-1))
        return self.attended(query, key, value)

    def attended(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if "attention" in self.steps:
            told = functional.scaled_dot_product_attention(query, key, value)
        else:
            told = (query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])).softmax(dim=-1) @ value
        return told.transpose(1, 2).flatten(2)

    def channel_attention(self, name: str, x_BNC: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        query_BhdN = self.heads(self.linear(f"{name}.query", x_BNC)).transpose(-2, -1).softmax(dim=-1)
        key_BhN1 = self.heads(x_BNC).transpose(-2, -1).softmax(dim=-1).mean(dim=2)[..., None]
        gate_Bhd1 = self.tensors[f"{name}.temperature"] * torch.sigmoid(query_BhdN @ key_BhN1)
        value = self.local_mlp(f"{name}.value", x_BNC, height, width)
        return self.layer_norm(f"{name}.value_norm", value, eps=1e-5), gate_Bhd1.flatten(1)[:, None]

    def local_mlp(self, name: str, x_BNC: Tensor, height: int, width: int) -> Tensor:
        wide_BND = self.linear(f"{name}.expand", x_BNC)
        map_BDHW = wide_BND.transpose(1, 2).unflatten(-1, (height, width))
        if "channels_last" not in self.steps:
            map_BDHW = map_BDHW.contiguous()
        groups, scale = wide_BND.shape[-1], self.tensors[f"{name}.scale"]
        map_BDHW = functional.gelu(self.convolve(f"{name}.local.first", map_BDHW, padding=1, groups=groups))
        map_BDHW = self.batch_norm(f"{name}.local.norm", map_BDHW)
        folded = scale if "scale" in self.steps else None
        map_BDHW = self.convolve(f"{name}.local.second", map_BDHW, padding=1, groups=groups, scale=folded)
        local_BND = map_BDHW.flatten(2).transpose(1, 2)
        mixed = wide_BND + scale * local_BND if folded is None else local_BND.add_(wide_BND)
        return self.linear(f"{name}.reduce", mixed)

    # ---- the class token ---------------------------------------------------------------------------------------------

    def class_block(self, name: str, x_BNC: Tensor) -> Tensor:
        if "class" in self.steps:
            block: Tensor = self.encoder.get_submodule(name)(x_BNC)
            return block
        normed = self.layer_norm(f"{name}.input_norm", x_BNC)
        query, key, value = (
            self.heads(self.linear(f"{name}.attention.{asks}", tokens))
            for asks, tokens in (("query", normed[:, :1]), ("key", normed), ("value", normed))
        )
        told = self.linear(f"{name}.attention.project", self.attended(query, key, value))
        branch = torch.cat([told, normed[:, 1:]], dim=1)
        stream = self.layer_norm(f"{name}.stream_norm", x_BNC + self.tensors[f"{name}.attention_scale"] * branch)
        class_B1C = stream[:, :1]
        mlp = self.linear(f"{name}.mlp.reduce", functional.gelu(self.linear(f"{name}.mlp.expand", class_B1C)))
        return torch.cat([class_B1C + self.tensors[f"{name}.mlp_scale"] * mlp, 2 * stream[:, 1:]], dim=1)

    # ---- layers ------------------------------------------------------------------------------------------------------

    def heads(self, x_BNC: Tensor) -> Tensor:
        return x_BNC.unflatten(-1, (self.encoder.size.heads, -1)).transpose(1, 2)

    def linear(self, name: str, x: Tensor, *, scale: Tensor | None = None) -> Tensor:
        weight, bias = self.weights(name, scale)
        return functional.linear(x, weight, bias)

    def convolve(
        self,
        name: str,
        map_BCHW: Tensor,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        scale: Tensor | None = None,
    ) -> Tensor:
        weight, bias = self.weights(name, scale)
        if "pointwise" in self.steps and weight.shape[2:] == (1, 1):
            return functional.linear(map_BCHW.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
        return functional.conv2d(map_BCHW, weight, bias, stride, padding, groups=groups)

    def weights(self, name: str, scale: Tensor | None) -> tuple[Tensor, Tensor | None]:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias")
        if scale is None or bias is None:
            return weight, bias
        return weight * scale.view(-1, *[1] * (weight.ndim - 1)), bias * scale

    def layer_norm(self, name: str, x: Tensor, *, eps: float = 1e-6) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return functional.layer_norm(x, weight.shape, weight, bias, eps)

    def batch_norm(self, name: str, map_BCHW: Tensor) -> Tensor:
        t, training = self.tensors, self.encoder.training
        running = t[f"{name}.running_mean"], t[f"{name}.running_var"]
        return functional.batch_norm(map_BCHW, *running, t[f"{name}.weight"], t[f"{name}.bias"], training)


# ---- measuring -------------------------------------------------------------------------------------------------------


def encoder_of(name: str) -> Fan:
    """With random weights whose every part matters."""
    torch.manual_seed(0)
    encoder = backbones.create(name, out="embedding")
    assert isinstance(encoder, Fan)
    with torch.no_grad():
        for tensor in encoder.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.02)
    return encoder


def way(encoder: Fan, name: str) -> Callable[[Tensor], Tensor]:
    """A function from the picture to the embedding."""
    if name == OURS:
        return lambda image_BCHW: encoder(image_BCHW)[0]
    return Plain(encoder, frozenset(WAYS[1 : WAYS.index(name) + 1]))


def forward(encoder: Fan, run: Callable[[Tensor], Tensor], image_BCHW: Tensor) -> None:
    """As in evaluation."""
    encoder.eval()
    with torch.no_grad():
        run(image_BCHW)


def both(encoder: Fan, run: Callable[[Tensor], Tensor], image_BCHW: Tensor) -> None:
    """Forward and backward, as in training."""
    encoder.train()
    encoder.zero_grad(set_to_none=True)
    run(image_BCHW).square().mean().backward()


WORK = {"forward": forward, "forward+backward": both}


def check(encoder: Fan, ways: dict[str, Callable[[Tensor], Tensor]], image_BCHW: Tensor) -> None:
    """Raises AssertionError unless all ways give the same."""
    encoder.eval()
    with torch.no_grad():
        found = {name: run(image_BCHW) for name, run in ways.items()}
    expected = found["plain"]
    for name, value in found.items():
        difference = ((value - expected).abs().max() / expected.abs().max()).item()
        assert difference <= SAME, f"{name} differs from the transcription by {difference:.1e}"


def peak_mb(encoder: str, way_name: str, kind: str, options: argparse.Namespace) -> float:
    """The peak of a fresh process."""
    shape = ["--batch", str(options.batch), "--size", str(options.size), "--threads", str(options.threads)]
    return child_says(__file__, ["--child", encoder, way_name, kind, *shape])


def measure_peak(options: argparse.Namespace) -> None:
    """What `peak_mb` starts: prints the megabytes that one call adds."""
    name, way_name, kind = options.child
    encoder = encoder_of(name)
    run, image_BCHW = way(encoder, way_name), torch.randn(options.batch, 3, options.size, options.size)
    WORK[kind](encoder, run, image_BCHW[:1, :, :32, :32])  # whatever is loaded at the first call
    print(json.dumps(added_mb(partial(WORK[kind], encoder, run, image_BCHW))))


def measure(name: str, options: argparse.Namespace) -> list[float]:
    """A table of one encoder; the ratios of the encoder itself."""
    encoder = encoder_of(name)
    ways = {name: way(encoder, name) for name in WAYS}
    image_BCHW = torch.randn(options.batch, 3, options.size, options.size)
    check(encoder, ways, image_BCHW)
    last = []
    for kind, work in WORK.items():
        tried = {way_name: partial(work, encoder, run, image_BCHW) for way_name, run in ways.items()}
        times = in_turns(tried, rounds=options.rounds, clock=CLOCKS[options.clock])
        print(f"\n{name}, {kind}, batch {options.batch} at {options.size} px")
        print(f"  {'':16s} {'ms a picture':>12s} {'of plain':>9s} {'step':>6s} {'peak MB':>8s}")
        before = 1.0
        for way_name, taken in times.items():
            of_plain = ratio(taken, times["plain"])
            peak = f"{peak_mb(name, way_name, kind, options):8.0f}" if options.memory else ""
            each = 1000 * median(taken) / options.batch
            print(f"  {way_name:16s} {each:12.1f} {of_plain:9.3f} {of_plain / before:6.3f} {peak}")
            before = of_plain
        last.append(before)
    return last


def main() -> int:
    """0 when every encoder reaches the aim, or none is asked to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--encoders", nargs="+", default=ENCODERS)
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
        f"torch {torch.__version__}, {options.threads} threads, {platform.machine()}, {options.rounds} rounds in turns"
    )
    ratios = [each for name in options.encoders for each in measure(name, options)]
    print(f"\nworst of the encoders: {max(ratios):.3f} of the transcription's time (aim: at most {AIM})")
    return 0 if max(ratios) <= AIM else 1


if __name__ == "__main__":
    sys.exit(main())
