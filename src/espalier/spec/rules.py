"""How each `auto` is filled: one rule a field, in the order in which they build on each other.

A rule is fn(spec, facts) → (value, reason). It sees the values that the rules before it chose. A rule that gives back
what was asked for lacks a fact: the field stays open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from espalier.errors import Problem
from espalier.spec.facts import Facts, TileFacts
from espalier.spec.sections import InputSpec, Spec

Rule = Callable[[Spec, Facts], tuple[Any, str]]

MOST_EPOCHS = 10_000  # where the clock ends the training


@dataclass(frozen=True)
class Caution:
    """Something about a field's value that the user had better know."""

    field: str
    value: Any
    reason: str


Check = Callable[[Spec, Facts], Iterator[Problem | Caution]]
"""What is wrong with a resolved spec of a network (problems), and what had better be known of it."""


@dataclass(frozen=True)
class Wish:
    """A rule for a word other than `auto` that stands for numbers which only the data can give, e.g. `balanced`."""

    word: str
    rule: Rule

    def __call__(self, spec: Spec, facts: Facts) -> tuple[Any, str]:
        """What the word means here, and the reason."""
        return self.rule(spec, facts)


_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_CHANNEL_BANDS: Mapping[str, int] = {"rgb": 3, "grey": 1, "rgba": 4}


def device(spec: Spec, facts: Facts) -> tuple[str, str]:
    """The best device at hand."""
    machine = facts.hardware
    return machine.device, "no accelerator found" if machine.device == "cpu" else f"found {machine.name}"


def devices(spec: Spec, facts: Facts) -> tuple[int, str]:
    """torchrun's world size, else one: this process starts no others."""
    machine = facts.hardware
    if machine.world_size is not None:
        return machine.world_size, "the world size that torchrun set"
    if machine.devices > 1 and spec.train.device == machine.device != "cpu":
        return 1, f"this machine has {machine.devices}; start with torchrun to use them together"
    return 1, "one process, one device"


def strategy(spec: Spec, facts: Facts) -> tuple[str, str]:
    """Copies on each device while weights, gradients and optimiser state fit one device; sharded beyond."""
    if spec.train.devices == 1:
        return "single", "one device"
    state_mb = _params(facts) * 16 / 2**20  # fp32 weights and gradients, and the two moments of Adam
    if 0 < (facts.hardware.memory_mb or 0) < 2 * state_mb:
        return "fsdp", f"weights and optimiser state of {state_mb:.0f} MB are too much for each device"
    return "ddp", "the model fits each device"


def precision(spec: Spec, facts: Facts) -> tuple[str, str]:
    """bf16 where it is fast, else fp16 on CUDA, else fp32."""
    if spec.train.device != "cuda":
        return "fp32", f"the {spec.train.device} path is exact and no slower in fp32"
    if facts.hardware.bf16:
        return "bf16", f"{facts.hardware.name} computes in bf16 at speed"
    return "fp16", f"{facts.hardware.name} has no fast bf16"


def size_hw(spec: Spec, facts: Facts) -> tuple[tuple[int, int], str]:
    """The size that the backbone's weights were measured at."""
    if facts.backbone is None:
        return (224, 224), "the common size; the backbone names none"
    return _pair(facts.backbone.size_hw), _measured(facts)


def fit(spec: Spec, facts: Facts) -> tuple[str, str]:
    """As the backbone's weights were measured."""
    return (facts.backbone.fit, _measured(facts)) if facts.backbone else ("centre_crop", "the common rule")


def resample(spec: Spec, facts: Facts) -> tuple[str, str]:
    """As the backbone's weights were measured."""
    return (facts.backbone.resample, _measured(facts)) if facts.backbone else ("pillow_bilinear", "the common rule")


def crop_fraction(spec: Spec, facts: Facts) -> tuple[float, str]:
    """As the backbone's weights were measured; all of the picture where nothing is cropped."""
    if _input(spec).fit != "centre_crop":
        return 1.0, f"{_input(spec).fit} crops nothing"
    return (facts.backbone.crop_fraction, _measured(facts)) if facts.backbone else (0.875, "the common rule")


def channels(spec: Spec, facts: Facts) -> tuple[str, str]:
    """RGB, which weights are made for, unless the pictures have more bands than colour."""
    asked = _input(spec).bands
    bands = facts.bands if asked == "auto" else asked
    if bands > 4:
        return "bands", f"the pictures have {bands} bands"
    if asked != "auto":
        return {1: "grey", 4: "rgba"}.get(bands, "rgb" if bands == 3 else "bands"), f"network.input.bands is {bands}"
    return "rgb", "grey pictures repeat their one band" if bands == 1 else "what the weights were trained on"


def bands(spec: Spec, facts: Facts) -> tuple[int, str]:
    """The number that belongs to the channels."""
    name = _input(spec).channels
    return (
        (_CHANNEL_BANDS[name], f"{name} has as many") if name in _CHANNEL_BANDS else (facts.bands, "the pictures' own")
    )


LEAST_DEEP = 256.0
"""A range up to 255 means pictures of 8 bits."""


def value_range(spec: Spec, facts: Facts) -> tuple[tuple[float, float], str]:
    """The full range of the bits that the pictures use: a camera's 12 of 16 would look black otherwise."""
    has = f"the pictures have {facts.bits} bits a value"
    if not 0 < facts.used_bits < facts.bits:
        return (0.0, float(2**facts.bits - 1)), has
    return (0.0, max(2.0**facts.used_bits - 1, LEAST_DEEP)), f"{has} and use the lowest {facts.used_bits}"


LEAST_SEEN_PX, WANTED_PX = 16.0, 32.0
"""In the network's input: smaller objects are hardly found; from COCO's 'medium' on they are found well."""

FAR_LARGER, FAR_INPUTS = 8.0, 4
"""Where nothing says how large objects are, as in masks: times the network's input from which on a picture is cut, and
the tiles' edge in inputs."""

MUCH_LARGER = 1.5  # times the network's input, from which on a picture is worth cutting


def tile_px(spec: Spec, facts: Facts) -> tuple[int | str, str]:
    """None, unless pictures are much larger than the input and half of the objects would hardly be seen in them."""
    size_hw, seen_hw = _input(spec).size_hw, facts.median_size_hw
    if not facts.n_train:
        return "auto", "the data is not known yet"
    if not facts.joins_tiles:
        return 0, "pictures are shown whole"
    if isinstance(size_hw, str) or seen_hw is None:
        return 0, "pictures are shown whole; how large they are is not known"
    scale = _shown(_input(spec), seen_hw)
    if not facts.median_object_px and scale * FAR_LARGER < 1:
        tile = 32 * round(max(FAR_INPUTS * min(size_hw), 32) / 32)
        return tile, f"pictures are {1 / scale:.0f} times as long as the network's input: whole, little would be seen"
    if not facts.median_object_px:
        return 0, "pictures are shown whole; how large their objects are is not known"
    seen = facts.median_object_px * scale
    if seen >= LEAST_SEEN_PX:
        return 0, f"pictures are shown whole: half of the objects have {seen:.0f} px or more in the network's input"
    if scale * MUCH_LARGER > 1:
        return 0, f"pictures are hardly larger than the network's input (objects have {seen:.0f} px there)"
    wanted = max(facts.median_object_px * min(size_hw) / WANTED_PX, min(size_hw) / 2, 32)
    tile = 32 * round(wanted / 32)
    now = facts.median_object_px * min(size_hw) / tile
    return tile, f"half of the objects would have {seen:.0f} px or less in a whole picture; in such a tile {now:.0f} px"


def _shown(given: InputSpec, picture_hw: tuple[int, int]) -> float:
    """The scale at which the network sees a picture of that size."""
    assert not isinstance(given.size_hw, str)
    if given.fit == "capped_edges":
        return min(max(given.size_hw) / max(picture_hw), min(given.size_hw) / min(picture_hw))
    return min(inside / side for inside, side in zip(given.size_hw, picture_hw, strict=True))


def tile_overlap(spec: Spec, facts: Facts) -> tuple[float | str, str]:
    """As much as most objects are long, from a fifth to a half of an edge."""
    tile = _input(spec).tile_px
    if isinstance(tile, str):
        return "auto", "the data is not known yet"
    if tile == 0:
        return 0.0, "there are no tiles"
    if not facts.large_object_px:
        return 0.25, "the usual; how large objects are is not known"
    share = min(max(math.ceil(20 * facts.large_object_px / tile) / 20, 0.2), 0.5)
    fits = "so that some tile sees them whole" if share * tile >= facts.large_object_px else "more would cost too much"
    return share, f"95 % of the objects are at most {facts.large_object_px:.0f} px long, {fits}"


def until_the_minutes(spec: Spec) -> tuple[int, str] | None:
    """The choice for `train.epochs` where the clock ends the training, None elsewhere."""
    if spec.train.by_clock and spec.train.minutes is not None:
        return MOST_EPOCHS, "train.minutes end it"
    return None


def learnt(spec: Spec, facts: Facts) -> int:
    """How many pictures an epoch shows, or tiles of them; 0 where that is not known."""
    found = _tiles(spec, facts)
    return facts.n_train if found is None else found.count


def most_labels(spec: Spec, facts: Facts) -> int:
    """In a picture, or in a tile of one."""
    found = _tiles(spec, facts)
    return facts.most_labels if found is None else found.most_labels


def _tiles(spec: Spec, facts: Facts) -> TileFacts | None:
    given = _input(spec)
    if (
        facts.tiles is None
        or not given.tile_px
        or isinstance(given.tile_px, str)
        or isinstance(given.tile_overlap, str)
    ):
        return None
    return facts.tiles(given.tile_px, given.tile_overlap)


def mean(spec: Spec, facts: Facts) -> tuple[tuple[float, ...], str]:
    """The weights' own; their average for each band when the number of bands differs."""
    return _statistics(spec, facts, facts.backbone.mean if facts.backbone else _IMAGENET_MEAN)


def std(spec: Spec, facts: Facts) -> tuple[tuple[float, ...], str]:
    """The weights' own; their average for each band when the number of bands differs."""
    return _statistics(spec, facts, facts.backbone.std if facts.backbone else _IMAGENET_STD)


def classes(spec: Spec, facts: Facts) -> tuple[tuple[str, ...] | str, str]:
    """The data's."""
    return facts.classes or "auto", f"{len(facts.classes)} found in the data"


def data_format(spec: Spec, facts: Facts) -> tuple[str, str]:
    """What was detected."""
    return facts.data_format or "auto", "what the files look like"


def batch_size(spec: Spec, facts: Facts) -> tuple[int, str]:
    """The largest power of two that fits the device, leaves steps in an epoch, and is not too large to learn from."""
    wanted, reason = (
        (32, "the usual on a cpu") if spec.train.device == "cpu" else (64, "enough to keep the device busy")
    )
    if facts.batch_fits is not None and facts.batch_fits < wanted:
        gigabytes = (facts.hardware.memory_mb or 0) / 1024
        wanted, reason = facts.batch_fits, "largest that fits" + (f" {gigabytes:.0f} GB" if gigabytes else "")
    count = learnt(spec, facts)
    few = count // (4 * _devices(spec) * spec.train.accumulate)
    if count > 0 and few < wanted:
        wanted, reason = max(few, min(4, count)), f"at least four steps in an epoch of {count} pictures"
    return 2 ** int(math.log2(max(wanted, 1))), reason


def workers(spec: Spec, facts: Facts) -> tuple[int, str]:
    """A process for each spare core; none for so few pictures that starting them takes longer than reading."""
    cores = max(1, facts.hardware.cpu_cores // _devices(spec))
    if 0 < learnt(spec, facts) < 64:
        return 0, f"{learnt(spec, facts)} pictures are read faster than processes start"
    most = 4 if spec.train.device == "cpu" else 12
    return min(cores - 1, most), f"{cores} cores" + (" for each device" if _devices(spec) > 1 else "")


def epochs(spec: Spec, facts: Facts) -> tuple[int, str]:
    """Enough passes to see some 20,000 pictures (80,000 from scratch), neither too few nor endlessly many."""
    count = learnt(spec, facts)
    if count == 0:
        return 20, "the usual; the number of pictures is not known"
    seen, least, most = (20_000, 5, 40) if facts.pretrained else (80_000, 30, 200)
    start = "from pretrained weights" if facts.pretrained else "from scratch"
    return min(max(round(seen / count), least), most), f"{count} pictures {start}"


def lr(spec: Spec, facts: Facts) -> tuple[float, str]:
    """The optimiser's usual rate, less for large backbones, scaled to the pictures in a step."""
    train = spec.train
    base, at_batch, scaling = {"sgd": (0.05, 64, 1.0), "lion": (1e-4, 64, 0.5)}.get(train.optimizer, (1e-3, 64, 0.5))
    size = 1.0 if _params(facts) <= 30e6 else 0.5 if _params(facts) <= 100e6 else 0.2
    pictures = _batch(spec) * train.accumulate * _devices(spec)
    value = float(f"{base * size * (pictures / at_batch) ** scaling:.3g}")
    backbone = f", {_params(facts) / 1e6:.0f} M parameters in the backbone" if facts.backbone else ""
    return value, f"{train.optimizer}, {pictures} pictures a step{backbone}"


def warmup_epochs(spec: Spec, facts: Facts) -> tuple[float, str]:
    """Half a pass."""
    return 0.5, "the usual"


def monitor(spec: Spec, facts: Facts) -> tuple[str, str]:
    """The task's headline figure."""
    return facts.monitor or "auto", "the task's headline figure"


RULES: Mapping[str, Rule] = {
    "train.device": device,
    "train.devices": devices,
    "train.strategy": strategy,
    "train.precision": precision,
    "data.format": data_format,
    "data.classes": classes,
    "network.input.size_hw": size_hw,
    "network.input.fit": fit,
    "network.input.resample": resample,
    "network.input.crop_fraction": crop_fraction,
    "network.input.tile_px": tile_px,
    "network.input.tile_overlap": tile_overlap,
    "network.input.channels": channels,
    "network.input.bands": bands,
    "network.input.value_range": value_range,
    "network.input.mean": mean,
    "network.input.std": std,
    "train.batch_size": batch_size,
    "train.workers": workers,
    "train.epochs": epochs,
    "train.lr": lr,
    "train.warmup_epochs": warmup_epochs,
    "train.monitor": monitor,
}


def _input(spec: Spec) -> InputSpec:
    return spec.network.input if spec.network else InputSpec()


def _params(facts: Facts) -> int:
    return facts.backbone.params if facts.backbone else 0


def _devices(spec: Spec) -> int:
    return spec.train.devices if isinstance(spec.train.devices, int) else 1


def _batch(spec: Spec) -> int:
    return spec.train.batch_size if isinstance(spec.train.batch_size, int) else 1


def _pair(size: tuple[int, int]) -> tuple[int, int]:
    return int(size[0]), int(size[1])


def _measured(facts: Facts) -> str:
    return f"what {facts.backbone.name} was measured with" if facts.backbone else "the common rule"


def _statistics(spec: Spec, facts: Facts, values: tuple[float, ...]) -> tuple[tuple[float, ...], str]:
    count = _input(spec).bands
    if count == "auto" or count == len(values):
        return tuple(values), _measured(facts)
    return (sum(values) / len(values),) * count, f"the average of the weights' own, for each of {count} bands"
