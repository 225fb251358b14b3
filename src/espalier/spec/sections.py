"""A whole experiment, and its sections that say which network and which pictures.

A section per verb is in `verbs`, training in `training`; what a network alone needs is in its own `NetworkSpec`
subclass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from espalier.spec.fields import Auto, Model, Tunable, knob
from espalier.spec.training import TrainSpec
from espalier.spec.verbs import (
    CompareSpec,
    EvaluateSpec,
    ExplainSpec,
    ExportSpec,
    FitSpec,
    PredictSpec,
    ReportSpec,
    ReproduceSpec,
    VerifySpec,
)

SPEC_VERSION = 1

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
        "Stochastic depth: share of the training pictures that skip a block's residual branch (fan_*, gc_vit_*, mit_*)",
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
        "auto",
        "Pixel values that become 0 and 1: 0-255; of 16 bit what the bits hold that the pictures use, up to 0-65535",
    )
    mean: tuple[float, ...] | Auto = knob("auto", "Mean of each channel after scaling to 0-1")
    std: tuple[float, ...] | Auto = knob("auto", "Standard deviation of each channel after scaling to 0-1", gt=0)

    tile_px: int | Auto = knob(
        "auto",
        "Large pictures are cut into overlapping square tiles of this edge, in the picture's pixels, in training and "
        "wherever the model is asked; 0 shows pictures whole. auto cuts where objects would be too small to be seen",
        unit="px",
        ge=0,
        le=65536,
    )
    tile_overlap: float | Auto = knob(
        "auto",
        "With tiles: the share of an edge that neighbours have in common, at least; auto is as much as most objects "
        "are long, so that some tile sees them whole",
        ge=0,
        le=0.75,
    )

    @field_validator("tile_px")
    @classmethod
    def _is_a_tile(cls, value: int | str) -> int | str:
        if isinstance(value, int) and 0 < value < 32:
            raise PydanticCustomError("espalier.tile", "a tile has 32 px or more; 0 is no tiles")
        return value

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
    labelled_classes: tuple[str, ...] | None = knob(
        None,
        "Classes that the pictures of data.train were labelled for; the others are neither right nor wrong there. null "
        "is what the data says, else all",
    )
    check: bool = knob(
        True, "Look at every picture and label before `train` begins, as `data check` and `fit` do: none ends it later"
    )
    group: str | None = knob(
        None,
        "What belongs together and never falls on both sides of a split: a CSV column, or "
        "a regular expression over the path whose first group is the key",
    )
    val_fraction: float = knob(0.2, "Share held out for validation when there is no validation set", gt=0, lt=1)
    near_duplicates: bool = knob(
        True, "Keep near-duplicate pictures on one side of a split; without it `train` does not look for them"
    )
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
    reproduce: ReproduceSpec = knob(None, "Published results", factory=ReproduceSpec)
    report: ReportSpec = knob(None, "The page", factory=ReportSpec)

    @field_validator("name")
    @classmethod
    def _is_a_folder_name(cls, value: str) -> str:
        if not _FOLDER_NAME.match(value):
            raise PydanticCustomError(
                "espalier.name", "the name becomes a folder: letters, digits, dots, dashes, at most 64"
            )
        return value
