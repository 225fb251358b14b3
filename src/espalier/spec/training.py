"""How a network is trained: the section `train` of an experiment, and its `augment`."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from espalier.spec.fields import Auto, Device, Model, Tunable, knob


class AugmentSpec(Model):
    """Random changes of the training pictures; none of them ever touches validation."""

    scale: tuple[float, float] = knob(
        (0.35, 1.0), "Random resized crop: share of the picture's area; [1, 1] switches it off", gt=0, le=1
    )
    ratio: tuple[float, float] = knob((0.75, 1.3333), "Random resized crop: range of width over height", gt=0, le=100)
    sizes: tuple[int, ...] = knob(
        (),
        "Multi-scale: shorter edges of which each picture draws one, never larger than the input has it; "
        "empty is the input's own",
        unit="px",
        ge=16,
        le=16384,
    )
    jitter: tuple[float, float] = knob(
        (1.0, 1.0),
        "Large-scale jitter: range of the size over the fitted one; what is too large is cropped at random, what is "
        "too small padded. [1, 1] switches it off",
        ge=0.05,
        le=4,
        tunable=Tunable(choices=((1.0, 1.0), (0.8, 1.25), (0.5, 1.5), (0.1, 2.0)), scale="choice"),
    )
    crop: float = knob(
        0.0,
        "Probability of DETR's random crop, taken before the picture is made to fit",
        ge=0,
        le=1,
        tunable=Tunable(0, 0.7),
    )
    crop_edges: tuple[int, ...] = knob(
        (400, 500, 600),
        "With crop: the picture's shorter edge for the moment, one is drawn",
        unit="px",
        ge=16,
        le=16384,
    )
    crop_px: tuple[int, int] = knob(
        (384, 600),
        "With crop: range of the crop's height and width, each drawn, at that size",
        unit="px",
        ge=16,
        le=16384,
    )
    class_share: float = knob(
        1.0,
        "Class balance of crops, for labels of pixels: the largest share of a part's labelled pixels that one class "
        "may take; a part with more, or without a label, is drawn again at another place, ten times at most. 1 takes "
        "any",
        gt=0,
        le=1,
        tunable=Tunable(choices=(0.75, 0.9, 1.0), scale="choice"),
    )
    mosaic: float = knob(
        0.0,
        "Probability that four pictures make one, around a point near its middle (labels with places)",
        ge=0,
        le=1,
        tunable=Tunable(0, 1),
    )
    min_visible: float = knob(
        0.2,
        "An object of which a crop leaves less than this share of its box is no object there but an ignored region",
        ge=0,
        le=1,
        tunable=Tunable(0, 0.5),
    )
    hflip: float = knob(0.5, "Probability of a left-right flip", ge=0, le=1, tunable=Tunable(0, 0.5))
    vflip: float = knob(
        0.0, "Probability of an upside-down flip (aerial and microscope pictures)", ge=0, le=1, tunable=Tunable(0, 0.5)
    )
    rotate_deg: float = knob(0.0, "Largest rotation to either side", unit="deg", ge=0, le=180, tunable=Tunable(0, 30))
    brightness: float = knob(0.2, "Largest relative change of brightness", ge=0, le=1, tunable=Tunable(0, 0.5))
    contrast: float = knob(0.2, "Largest relative change of contrast", ge=0, le=1, tunable=Tunable(0, 0.5))
    saturation: float = knob(
        0.2, "Largest relative change of saturation (colour pictures)", ge=0, le=1, tunable=Tunable(0, 0.5)
    )
    hue: float = knob(0.0, "Largest shift of hue, share of the colour circle", ge=0, le=0.5, tunable=Tunable(0, 0.1))
    blur: float = knob(0.0, "Probability of a light Gaussian blur", ge=0, le=1, tunable=Tunable(0, 0.3))
    noise: float = knob(0.0, "Probability of light Gaussian noise", ge=0, le=1, tunable=Tunable(0, 0.3))
    erase: float = knob(0.0, "Probability that a rectangle is erased", ge=0, le=1, tunable=Tunable(0, 0.5))
    mixup: float = knob(0.0, "mixup's alpha; 0 switches it off", ge=0, le=5, tunable=Tunable(0, 0.8))
    cutmix: float = knob(0.0, "cutmix's alpha; 0 switches it off", ge=0, le=5, tunable=Tunable(0, 1))
    off_last_epochs: int = knob(0, "mixup, cutmix and mosaic rest in the last epochs", unit="epochs", ge=0)

    @field_validator("crop_edges")
    @classmethod
    def _has_one(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value:
            raise PydanticCustomError("espalier.empty", "at least one edge is needed")
        return value

    @field_validator("scale", "ratio", "jitter", "crop_px")
    @classmethod
    def _is_ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise PydanticCustomError("espalier.order", "the first value must not be larger than the second")
        return value


class TrainSpec(Model):
    """The training loop."""

    epochs: int | Auto = knob("auto", "Passes over the training set", unit="epochs", ge=1, le=100_000)
    minutes: float | None = knob(
        None, "Wall-clock budget; training ends in good order when it is spent", unit="min", gt=0, flag="--minutes"
    )
    by_clock: bool = knob(
        False,
        "With minutes: the rate falls with the time spent, so that the schedule ends with the minutes however busy the "
        "machine is; such a training can't be repeated bit by bit",
    )
    batch_size: int | Auto = knob(
        "auto",
        "Pictures in an optimiser step on one device, before accumulation",
        ge=1,
        le=65536,
        tunable=Tunable(choices=(8, 16, 32, 64), scale="choice"),
    )
    accumulate: int = knob(1, "Batches whose gradients are added up for one optimiser step", ge=1, le=4096)
    device: Device = knob("auto", "Where the training runs")
    devices: int | Auto = knob("auto", "Number of devices; started by torchrun, its world size", ge=1)
    strategy: Literal["auto", "single", "ddp", "fsdp"] = knob("auto", "How several devices share the work")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = knob("auto", "Number format of the forward pass")
    channels_last: bool = knob(True, "Keep pictures channels-last in memory, often faster")
    compile: bool = knob(False, "Use torch.compile on the model")
    activation_checkpointing: bool = knob(
        False,
        "Compute the backbone's activations again in the backward pass instead of keeping them: less memory, slower",
    )
    workers: int | Auto = knob("auto", "Processes that read pictures; 0 reads in the main process", ge=0, le=256)
    optimizer: Literal["adamw", "adam", "sgd", "rmsprop", "lion"] = knob("adamw", "The optimiser, by name")
    lr: float | Auto = knob(
        "auto", "Base learning rate, reached after the warm-up", gt=0, le=10, tunable=Tunable(1e-5, 1e-2, "log")
    )
    backbone_lr_ratio: float = knob(
        0.1, "The backbone's rate is this times the base rate", ge=0, le=10, tunable=Tunable(0.01, 1, "log")
    )
    weight_decay: float = knob(
        0.05, "Decay of weight matrices; all else only with decay_all", ge=0, le=1, tunable=Tunable(1e-4, 0.2, "log")
    )
    decay_all: bool = knob(False, "Norms and biases decay too, as in the published detectors' codes")
    slow_lr_ratio: float = knob(
        1.0,
        "The rate of what a network calls slow (a detector's sampling offsets and reference points) is this times the "
        "base rate",
        ge=0,
        le=10,
    )
    momentum: float = knob(0.9, "Momentum (sgd, rmsprop), or the first beta of the others", ge=0, lt=1)
    schedule: Literal["cosine", "step", "poly", "constant"] = knob("cosine", "How the rate falls after the warm-up")
    step_epochs: tuple[int, ...] = knob((), "With step: epochs after which the rate is multiplied by step_factor", ge=1)
    step_factor: float = knob(0.1, "With step: the factor", gt=0, lt=1)
    poly_power: float = knob(0.9, "With poly: the power", gt=0, le=10)
    final_lr_ratio: float = knob(0.01, "The rate at the end, over the base rate (cosine, poly)", ge=0, le=1)
    warmup_epochs: float | Auto = knob("auto", "Linear warm-up", unit="epochs", ge=0, le=1000)
    clip_norm: float = knob(1.0, "Largest norm of the gradient; 0 does not clip", ge=0, tunable=Tunable(0.1, 10, "log"))
    ema_decay: float = knob(0.0, "Decay of the averaged weights that are evaluated and kept; 0 keeps none", ge=0, lt=1)
    freeze: tuple[str, ...] = knob((), "Parameter name prefixes that stay as they start, e.g. backbone")
    tile_background: float = knob(
        0.5,
        "With tiles: at most so many without an object for each that has one, drawn anew for every epoch",
        ge=0,
        le=1000,
    )
    sampling: Literal["uniform", "balanced"] = knob("uniform", "balanced draws each class equally often")
    augment: AugmentSpec = knob(None, "Random changes of the training pictures", factory=AugmentSpec)
    start_from: str | None = knob(
        None,
        "MODEL whose weights training starts from (heads of other classes are made anew). "
        "Not the same as --resume, which goes on with an interrupted run",
    )
    keep_classes: bool = knob(
        False,
        "With start_from: its classes stay, at their places, and the data's own come after them; the pictures count as "
        "not labelled for those that the data doesn't have",
    )
    evaluate_every_epochs: int = knob(1, "Validation after so many epochs, and after the last", unit="epochs", ge=1)
    checkpoint_every_steps: int = knob(
        0, "Also write `last` after so many optimiser steps; 0 only after each epoch", unit="steps", ge=0
    )
    monitor: str = knob("auto", "The validation figure that decides which checkpoint is best; auto is the task's own")
    patience_epochs: int = knob(
        0, "Stop when the figure has not improved for so long; 0 never stops early", unit="epochs", ge=0
    )
    diverged_factor: float = knob(1e4, "Stop when the loss is this many times its first value (0.05 at least)", gt=1)
    deterministic: bool = knob(True, "Use deterministic algorithms where the device has them")
    tensorboard: bool = knob(True, "Also write TensorBoard files when TensorBoard is installed")
