"""The common sections of every spec: the same names for every network, task and action.

A section per action is named like its verb. What a network alone needs is in its own `NetworkSpec` subclass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from espalier.spec.fields import Auto, Model, Tunable, knob

SPEC_VERSION = 1

Device = Literal["auto", "cpu", "cuda", "mps"]

_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


class BackboneSpec(Model):
    """The image encoder and where its start weights come from."""

    name: str = knob("timm/resnet18", "Encoder by name: ours, or timm/NAME (a bare timm name works too)")
    weights: str = knob(
        "auto",
        "auto (the best rung of the weight ladder at hand) | imagenet (the same, and an error without any) | official "
        "(the publisher's own, often non-commercial) | none | NAME in the cache | PATH | URL | hub id",
    )
    download: bool = knob(
        False, "May weights be fetched from the internet when they are not on this machine?", flag="--download"
    )
    drop_path: float = knob(
        0.0,
        "Stochastic depth: share of the training pictures that skip a block's residual branch (fan_* and gc_vit_*)",
        ge=0,
        lt=1,
        tunable=Tunable(0, 0.4),
    )
    dilation: bool = knob(
        False, "The last stage keeps the size of its map and spreads its convolutions instead (ResNets: stride 16)"
    )


class InputSpec(Model):
    """What the network sees: `auto` comes from the backbone's weights, so that published numbers come back."""

    size_hw: tuple[int, int] | Auto = knob("auto", "Height and width of the network's input", unit="px", ge=1, le=16384)
    channels: Literal["auto", "rgb", "grey", "rgba", "bands"] = knob(
        "auto", "Channels read from the picture; bands keeps all there are"
    )
    bands: int | Auto = knob("auto", "Number of bands, for pictures of more than four", ge=1, le=64)
    fit: Literal["auto", "stretch", "centre_crop", "letterbox", "longest_edge", "capped_edges"] = knob(
        "auto",
        "How a picture of another shape is made to fit. capped_edges is DETR's way: the shorter edge as the smaller of "
        "size_hw, less where the longer edge would exceed the larger; pictures come out at different sizes",
    )
    resample: Literal["auto", "pillow_bilinear", "pillow_bicubic", "cv2_linear", "area"] = knob(
        "auto", "The resampling rule, by the library whose numbers it gives"
    )
    crop_fraction: float | Auto = knob(
        "auto", "With centre_crop: the share of the resized shorter edge that is kept", gt=0, le=1
    )
    multiple: int = knob(1, "Pictures are padded until both sides are multiples of this", unit="px", ge=1, le=1024)
    value_range: tuple[float, float] | Auto = knob(
        "auto", "Pixel values that become 0 and 1: 0-255, for 16 bit 0-65535"
    )
    mean: tuple[float, ...] | Auto = knob("auto", "Mean of each channel after scaling to 0-1")
    std: tuple[float, ...] | Auto = knob("auto", "Standard deviation of each channel after scaling to 0-1", gt=0)

    @field_validator("value_range")
    @classmethod
    def _is_a_range(cls, value: tuple[float, float] | str) -> tuple[float, float] | str:
        if isinstance(value, tuple) and value[0] >= value[1]:
            raise PydanticCustomError("espalier.order", "the first value must be smaller than the second")
        return value


class NetworkSpec(Model):
    """What every network has; a network's own knobs are fields of its subclass.

    `rules` says how `resolve` fills the subclass's own `auto` fields (dotted from `network`), or replaces a common rule
    (by its full name, e.g. train.epochs): see `spec.rules`. `checks` say what of a resolved spec can't work with this
    data, or had better be known: see `spec.rules.Check`.
    """

    rules: ClassVar[Mapping[str, Any]] = {}
    checks: ClassVar[tuple[Any, ...]] = ()

    name: str = knob("", "The network's name")
    preset: str | None = knob(None, "A named set of values to start from; what the spec itself says wins")
    backbone: BackboneSpec = knob(None, "The image encoder", factory=BackboneSpec)
    input: InputSpec = knob(None, "The network's input", factory=InputSpec)


class DataSpec(Model):
    """Where the pictures and labels are. Nothing in these places is ever changed."""

    train: str | None = knob(None, "Training set: a folder, file, zip or URL (s3://, gs://, az://)")
    val: str | None = knob(None, "Validation set; without one a grouped part of the training set is held out")
    test: str | None = knob(None, "Test set, used by evaluate alone")
    images: str | None = knob(None, "Folder that the paths in a label file are relative to; null is the file's own")
    format: str = knob("auto", "The data format by name, or auto")
    classes: tuple[str, ...] | Auto = knob("auto", "Class names in the order of their ids; auto takes the data's")
    group: str | None = knob(
        None,
        "What belongs together and never falls on both sides of a split: a CSV column, or "
        "a regular expression over the path whose first group is the key",
    )
    val_fraction: float = knob(0.2, "Share held out for validation when there is no validation set", gt=0, lt=1)
    near_duplicates: bool = knob(True, "Keep near-duplicate pictures on one side of a split")
    max_pixels: int = knob(300_000_000, "A larger picture is refused before it is decoded", unit="px", ge=1)

    @field_validator("classes")
    @classmethod
    def _are_names(cls, value: tuple[str, ...] | str) -> tuple[str, ...] | str:
        twice = sorted({name for name in value if value.count(name) > 1}) if isinstance(value, tuple) else []
        if twice:
            raise PydanticCustomError(
                "espalier.classes", "a class is named twice: {names}", {"names": ", ".join(twice)}
            )
        if isinstance(value, tuple) and not all(name.strip() for name in value or [""]):
            raise PydanticCustomError("espalier.classes", "every class needs a name, and there is at least one class")
        return value


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
        0.05, "Decay of weight matrices; norms and biases get none", ge=0, le=1, tunable=Tunable(1e-4, 0.2, "log")
    )
    momentum: float = knob(0.9, "Momentum (sgd, rmsprop), or the first beta of the others", ge=0, lt=1)
    schedule: Literal["cosine", "step", "poly", "constant"] = knob("cosine", "How the rate falls after the warm-up")
    step_epochs: tuple[int, ...] = knob((), "With step: epochs after which the rate is multiplied by step_factor", ge=1)
    step_factor: float = knob(0.1, "With step: the factor", gt=0, lt=1)
    poly_power: float = knob(0.9, "With poly: the power", gt=0, le=10)
    final_lr_ratio: float = knob(0.01, "The rate at the end, over the base rate (cosine, poly)", ge=0, le=1)
    warmup_epochs: float = knob(0.5, "Linear warm-up", unit="epochs", ge=0, le=1000)
    clip_norm: float = knob(1.0, "Largest norm of the gradient; 0 does not clip", ge=0, tunable=Tunable(0.1, 10, "log"))
    ema_decay: float = knob(0.0, "Decay of the averaged weights that are evaluated and kept; 0 keeps none", ge=0, lt=1)
    freeze: tuple[str, ...] = knob((), "Parameter name prefixes that stay as they start, e.g. backbone")
    sampling: Literal["uniform", "balanced"] = knob("uniform", "balanced draws each class equally often")
    augment: AugmentSpec = knob(None, "Random changes of the training pictures", factory=AugmentSpec)
    start_from: str | None = knob(
        None,
        "MODEL whose weights training starts from (heads of other classes are made anew). "
        "Not the same as --resume, which goes on with an interrupted run",
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


class CorruptionsSpec(Model):
    """Also score the model on corrupted pictures: the 15 + 4 corruptions of ImageNet-C."""

    enabled: bool = knob(False, "Also score on corrupted pictures", flag="--corruptions")
    which: tuple[str, ...] = knob(
        ("all",),
        "By name, or all | common (15) | extra (4) | noise | blur | weather | digital; means are of the common",
    )
    severities: tuple[int, ...] = knob((1, 2, 3, 4, 5), "How strong", ge=1, le=5)
    at: Literal["input", "source"] = knob(
        "input", "In whose pixels: the network's, as ImageNet-C, or the picture's own before it is resized"
    )
    baseline: str | None = knob(
        None, "A run of evaluate --corruptions on the same pictures, whose errors these are related to (mCE)"
    )
    workers: int | Auto = knob("auto", "Processes that corrupt pictures; 0 is this one alone", ge=0, le=256)
    pictures: int = knob(1, "Pictures shown under every corruption", ge=0, le=12)


class EvaluateSpec(Model):
    """Score a model on labelled pictures."""

    model: str | None = knob(None, "MODEL: a run, a checkpoint folder, a bundle folder or zip")
    data: str | None = knob(
        None, "Labelled pictures; without it the test set of the model's spec, else its validation set"
    )
    backend: str = knob("auto", "What runs the graph: auto | onnxruntime | torch")
    device: Device = knob("auto", "Where the graph runs")
    batch_size: int = knob(8, "Pictures in a batch", ge=1, le=4096)
    bootstrap: int = knob(1000, "Resamples of the pictures for the 95 % interval; 0 gives none", ge=0, le=1_000_000)
    pictures: int = knob(12, "Pictures shown of each kind of mistake", ge=0, le=1000)
    corruptions: CorruptionsSpec = knob(None, "Corrupted pictures", factory=CorruptionsSpec)


class CompareSpec(Model):
    """Is one model better than another on the same pictures?"""

    models: tuple[str, ...] = knob((), "Two or more MODELs; each is compared with the first")
    data: str | None = knob(None, "Labelled pictures; without it the test set of the first model's spec")
    device: Device = knob("auto", "Where the graph runs")
    batch_size: int = knob(8, "Pictures in a batch", ge=1, le=4096)
    bootstrap: int = knob(2000, "Paired resamples of the pictures", ge=100, le=1_000_000)
    pictures: int = knob(12, "Pictures shown that changed sides", ge=0, le=1000)
    speed: bool = knob(True, "Also time the models in turn on the same pictures")


class PredictSpec(Model):
    """Run a model on pictures."""

    model: str | None = knob(None, "MODEL: a run, a checkpoint folder, a bundle folder or zip")
    images: tuple[str, ...] = knob((), "Pictures: files, folders, globs, URLs (these with allow_urls)")
    backend: str = knob("auto", "What runs the graph: auto | onnxruntime | torch")
    device: Device = knob("auto", "Where the graph runs")
    batch_size: int = knob(8, "Pictures in a batch", ge=1, le=4096)
    formats: tuple[Literal["json", "csv", "pictures"], ...] = knob(("json", "csv"), "What to write", flag="--formats")
    allow_urls: bool = knob(False, "May pictures be fetched from http(s)?", flag="--allow-urls")
    recursive: bool = knob(True, "Look into folders inside folders")


class ExplainSpec(Model):
    """Show what in a picture made the answer, and how far each map can be trusted."""

    models: tuple[str, ...] = knob((), "MODELs: runs, checkpoint folders, bundles; the maps of several side by side")
    images: tuple[str, ...] = knob(
        (), "Pictures: files, folders, globs, URLs; without any, some that the first model was not trained on"
    )
    pictures: int = knob(8, "Pictures taken when none are named, up to half of them mistakes", ge=1, le=1000)
    targets: tuple[str, ...] = knob(
        (), "What to explain, in the task's words: classes by name or id; empty is the answer itself", flag="--targets"
    )
    maps: tuple[Literal["gradcam", "rise", "rollout", "features"], ...] = knob(
        (), "Kinds of maps; empty is all that suit the model (a bundle: rise)", flag="--maps"
    )
    layer: str | None = knob(
        None, "Inner layer that gradcam and features look at; without it the encoder's last map", flag="--layer"
    )
    layers: bool = knob(False, "Only list the model's layers that a map can be made of", flag="--layers")
    corruption: str | None = knob(
        None, "Also explain each picture corrupted: a corruption and its severity, such as noise:3", flag="--corruption"
    )
    backend: str = knob("auto", "What runs the graph: auto | onnxruntime | torch")
    device: Device = knob("auto", "Where the graph runs")
    batch_size: int = knob(16, "Changed pictures in a batch", ge=1, le=4096)
    masks: int = knob(800, "Random masks that rise hides a picture with; more give a smoother map", ge=2, le=100_000)
    cells: int = knob(7, "Cells along each side of a random mask, and of a random map", ge=2, le=64)
    steps: int = knob(32, "Equal shares of the pixels that the deletion and insertion scores go by", ge=2, le=1000)
    random_maps: int = knob(4, "Random maps of each picture that its maps are compared with", ge=1, le=100)
    formats: tuple[Literal["pictures", "arrays"], ...] = knob(
        ("pictures", "arrays"), "What to write beside explanations.json and the page", flag="--formats"
    )
    allow_urls: bool = knob(False, "May pictures be fetched from http(s)?", flag="--allow-urls")
    recursive: bool = knob(True, "Look into folders inside folders")


class ExportSpec(Model):
    """Turn a checkpoint into a bundle and prove that both say the same."""

    model: str | None = knob(None, "MODEL: a run or a checkpoint folder")
    data: str | None = knob(
        None, "Pictures to prove parity and the metric on; without it the validation set of the model's spec"
    )
    opset: int = knob(20, "ONNX operator set", ge=17, le=25)
    tolerance: float = knob(1e-3, "Largest |a-b| over max(1e-3, max|a|) of any raw output", gt=0, le=1)
    metric_tolerance: float = knob(0.005, "Largest change of the headline metric on those pictures", ge=0, le=1)
    dynamic_size: bool | Auto = knob(
        "auto",
        "Leave height and width free, for networks that allow it; auto does where pictures come out at different sizes",
    )
    golden: Literal["drawn", "images"] = knob(
        "drawn", "Golden inputs that travel in the bundle: drawn by seed, or real pictures (they are somebody's)"
    )
    golden_count: int = knob(4, "Golden inputs", ge=1, le=64)
    parity_images: int = knob(64, "Real pictures that parity is also checked on", ge=0, le=100_000)
    zip: bool = knob(False, "Also write the bundle as one zip", flag="--zip")


class VerifySpec(Model):
    """Prove that a bundle on this machine still gives its golden outputs."""

    bundle: str | None = knob(None, "A bundle folder or zip")
    backend: str = knob("auto", "What runs the graph: auto | onnxruntime")
    device: Device = knob("auto", "Where the graph runs")


class ReportSpec(Model):
    """Write a run's report: one HTML page that needs no network."""

    run: str | None = knob(None, "A run folder")
    title: str | None = knob(None, "Title of the page; the run's name without it")


class FitSpec(Model):
    """The short way: check, train, evaluate, export, verify and report by a recipe that fits the data and the time."""

    photos: str | None = knob(
        None, "Your pictures: a folder for each class or a CSV; boxes as YOLO, VOC, KITTI, CVAT, Label Studio, COCO"
    )
    minutes: float = knob(20, "Time that may be spent on training and trying", unit="min", gt=0, flag="--minutes")
    task: str = knob("auto", "The task by name, or auto from the labels")
    few_pictures: int = knob(300, "Below so many labelled pictures the score comes from repeated k-fold", ge=0)
    folds: int = knob(5, "Folds of the k-fold", ge=2, le=20)
    repeats: int = knob(2, "Repeats of the k-fold", ge=1, le=20)
    finetune: bool = knob(True, "Also fine-tune, not only the head on frozen features; the better one is kept")
    label_curve: bool = knob(True, "Draw the score over the number of labels")
    report: bool = knob(True, "Write the report")


class Spec(Model):
    """One experiment. `network` is None for actions that only use a finished model."""

    spec_version: int = knob(SPEC_VERSION, "Version of this file's format", ge=1, le=SPEC_VERSION)
    name: str = knob("auto", "Name of the run's folder (letters, digits, dots, dashes); auto is the verb's")
    seed: int = knob(0, "Seed of everything that is drawn", ge=0, le=2**32 - 1)
    licences: Literal["any", "commercial"] = knob(
        "any", "commercial refuses weights and networks that may not be used commercially", flag="--licences"
    )
    network: NetworkSpec | None = knob(None, "The network and its knobs")
    data: DataSpec = knob(None, "The pictures and labels", factory=DataSpec)
    train: TrainSpec = knob(None, "The training loop", factory=TrainSpec)
    fit: FitSpec = knob(None, "The short way", factory=FitSpec)
    evaluate: EvaluateSpec = knob(None, "Scores", factory=EvaluateSpec)
    compare: CompareSpec = knob(None, "Comparison", factory=CompareSpec)
    predict: PredictSpec = knob(None, "Predictions", factory=PredictSpec)
    explain: ExplainSpec = knob(None, "Explanations", factory=ExplainSpec)
    export: ExportSpec = knob(None, "The bundle", factory=ExportSpec)
    verify: VerifySpec = knob(None, "The proof", factory=VerifySpec)
    report: ReportSpec = knob(None, "The page", factory=ReportSpec)

    @field_validator("name")
    @classmethod
    def _is_a_folder_name(cls, value: str) -> str:
        if not _FOLDER_NAME.match(value):
            raise PydanticCustomError(
                "espalier.name", "the name becomes a folder: letters, digits, dots, dashes, at most 64"
            )
        return value
