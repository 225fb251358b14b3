"""From a query to the named arrays a network takes: a closed, versioned vocabulary that a bundle records.

Each input of a network is a picture of the query that goes through at most one step of each kind, in this order:

    Resize → CentreCrop → Pad → PadMultiple   the geometric steps (`place`): pixels in, pixels out, and the map between
    Normalise                                 the value steps (`pixels`): depth, value range, mean, deviation, at once

The whole picture is resized before the crop, as the libraries do it: Pillow chooses the order of its two passes by the
sizes, and bicubic numbers depend on it, so that resizing only what stays would not give the library's numbers.
Depth: a `value_range` up to 255 means 8 bit, above it 16 bit; a picture of the other depth is brought over by 257.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from espalier.errors import ImageError, ModelError, Problem
from espalier.vision import prepare_json
from espalier.vision.channels import COUNT, Channels, as_channels, split_planes
from espalier.vision.geometry import Geometry
from espalier.vision.resize import Resample, resize
from espalier.vision.steps import (
    ORDER,
    STEPS,
    CentreCrop,
    Normalise,
    Pad,
    PadMultiple,
    Resize,
    Step,
    check_word,
    px,
)
from espalier.vision.tiling import Tile, Tiling

__all__ = [
    "BoxesInput", "CentreCrop", "FitWord", "Normalise", "Pad", "PadMultiple", "Placed", "Prepare", "PrepareInput",
    "Prepared", "Resize", "Step", "ValidInput", "standard_prepare",
]  # fmt: skip
VERSION = 1
FitWord = Literal["stretch", "centre_crop", "letterbox", "longest_edge", "capped_edges"]
FIT_WORDS: tuple[str, ...] = get_args(FitWord)
MAX_BETWEEN_PX = 2**26  # of a resized picture before its crop


@dataclass(frozen=True)
class PrepareInput:
    """How the network's input `name` is made from the picture `<source>_HWC` of a query.

    `bands` is the number of channels that come out; with channels "bands" the picture must have as many.
    """

    name: str = "image"
    source: str = "image"
    channels: Channels = "rgb"
    bands: int = 3
    value_range: tuple[float, float] = (0.0, 255.0)
    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        check_word("channels", self.channels, (*COUNT, "bands"))
        where = f"prepare: input '{self.name}'"
        if not self.name.isidentifier() or not self.source.isidentifier():
            raise ModelError(f"{where}: names are made of letters, digits and underscores")
        if self.bands != COUNT.get(self.channels, self.bands) or not 1 <= self.bands <= 4096:
            raise ModelError(f"{where}: {self.channels} can't have {self.bands} channels")
        low, high = self.value_range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ModelError(f"{where}: value_range {self.value_range} is no range")
        places = [ORDER[step.op] for step in self.steps]
        if places != sorted(set(places)):
            raise ModelError(f"{where}: at most one step of each kind, in the order {' → '.join(ORDER)}")
        normalise = self.normalise
        if normalise is not None and len(normalise.mean) != self.bands:
            raise ModelError(f"{where}: normalise has {len(normalise.mean)} means for {self.bands} channels")

    @property
    def resize(self) -> Resize | None:
        """The resize, or None."""
        return next((step for step in self.steps if isinstance(step, Resize)), None)

    @property
    def crop(self) -> CentreCrop | None:
        """The crop, or None."""
        return next((step for step in self.steps if isinstance(step, CentreCrop)), None)

    @property
    def pad(self) -> Pad | None:
        """The padding, or None."""
        return next((step for step in self.steps if isinstance(step, Pad)), None)

    @property
    def pad_multiple(self) -> PadMultiple | None:
        """The padding to a multiple, or None."""
        return next((step for step in self.steps if isinstance(step, PadMultiple)), None)

    @property
    def normalise(self) -> Normalise | None:
        """The normalisation, or None."""
        return next((step for step in self.steps if isinstance(step, Normalise)), None)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Size of the network's input. Where pictures come out at different sizes: with longest_edge the largest, with
        capped_edges that of a wide picture (a tall one's is the other way round), both before a PadMultiple."""
        placed = [step.size_hw for step in (self.pad, self.crop, self.resize) if step is not None]
        if not placed:
            raise ModelError(f"prepare: input '{self.name}' takes pictures as large as they are")
        return placed[0]

    @property
    def one_size(self) -> bool:
        """Do pictures of any shape come out at one size?"""
        return bool(self.pad or self.crop or (self.resize and self.resize.fit == "stretch"))

    def at_least(self, least_px: int) -> PrepareInput:
        """The same, with pictures padded until both sides have `least_px`; an input of one size is as it was."""
        if self.one_size or least_px <= 1:
            return self
        padding = replace(self.pad_multiple or PadMultiple(1), least_px=least_px)
        others = (step for step in self.steps if not isinstance(step, PadMultiple))
        return replace(self, steps=tuple(sorted((*others, padding), key=lambda step: ORDER[step.op])))

    @property
    def resample(self) -> Resample:
        """The resampling rule; pillow_bilinear when nothing is resized."""
        return self.resize.resample if self.resize else "pillow_bilinear"

    def place(self, image_HWC: NDArray[Any]) -> tuple[NDArray[Any], Geometry]:
        """The geometric steps: the picture in the network's channels and pixels, and the map between both."""
        image_HWC = as_channels(image_HWC, self.channels, bands=self.bands)
        source_hw = (int(image_HWC.shape[0]), int(image_HWC.shape[1]))
        resized_hw = self.resize.size_of(source_hw) if self.resize else source_hw
        if resized_hw[0] * resized_hw[1] > MAX_BETWEEN_PX:
            raise ImageError(f"{px(source_hw)} is too long and thin to be resized to {px(resized_hw)}")
        geometry = Geometry.stretch(source_hw, resized_hw)
        image_HWC = resize(image_HWC, resized_hw, self.resample)
        for step in (self.crop, self.pad, self.pad_multiple):
            if step is not None:
                geometry = geometry.then(step.geometry(geometry.input_hw))
                image_HWC = step.apply(image_HWC)
        return image_HWC, geometry

    def pixels(self, image_HWC: NDArray[Any], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """The value steps: float32 CHW (in `out` when given) of a uint8 or uint16 picture in the network's channels."""
        height, width, channels = image_HWC.shape
        if channels != self.bands:
            raise ImageError(f"a picture of {channels} channels was given where the network takes {self.bands}")
        if out is None:
            out = np.empty((channels, height, width), np.float32)
        scale_C, offset_C = self._scale_and_offset(image_HWC.dtype)
        for c, plane_HW in enumerate(split_planes(image_HWC)):
            np.multiply(plane_HW, scale_C[c], out=out[c])
            np.add(out[c], offset_C[c], out=out[c])
        return out

    def _scale_and_offset(self, dtype: np.dtype[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Depth, value range, mean and std as one: value * scale + offset, for each channel."""
        low, high = self.value_range
        depth = {(1, True): 257.0, (2, False): 1 / 257}.get((dtype.itemsize, high > 255), 1.0)
        mean = np.array(self.normalise.mean if self.normalise else [0.0] * self.bands)
        std = np.array(self.normalise.std if self.normalise else [1.0] * self.bands)
        scale_C = depth / ((high - low) * std)
        offset_C = -(low / (high - low) + mean) / std
        return scale_C.astype(np.float32), offset_C.astype(np.float32)


@dataclass(frozen=True)
class BoxesInput:
    """Boxes of the query (its attribute `source`, xyxy source pixels) as an input: float32 (n, 4), in the pixels of the
    picture input named `frame`."""

    name: str = "boxes"
    source: str = "box_xyxy"
    frame: str = "image"


@dataclass(frozen=True)
class ValidInput:
    """The part of the picture input `frame` that shows the picture, from its top left corner, as an input: int64 (2,),
    height and width in pixels. For networks that must not look at padding."""

    name: str = "valid_hw"
    frame: str = "image"

    def array(self, geometries: Mapping[str, Geometry]) -> NDArray[np.int64]:
        """The input, by the maps of the picture inputs."""
        return np.array(geometries[self.frame].valid_hw, np.int64)


@dataclass(frozen=True)
class Placed:
    """A query between the geometric and the value steps: its pictures in the network's pixels (uint8 or uint16) by
    input, the maps to their source, and the arrays of its boxes. What may be done to any query's pictures alike, with
    everything that lies on them staying where it is, is done here."""

    images: dict[str, NDArray[Any]]
    geometries: dict[str, Geometry]
    boxes: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    tile: Tile | None = None  # the part of the query's picture that this is, where it was cut into tiles


@dataclass(frozen=True)
class Prepared:
    """A network's inputs without a batch axis. `geometry` is the first picture's, `geometries` those of all by name."""

    arrays: dict[str, NDArray[Any]]  # float32, but for the int64 of a ValidInput
    geometry: Geometry
    geometries: Mapping[str, Geometry] = field(default_factory=dict)
    paddable: frozenset[str] = frozenset()  # picture inputs of whose padding the network is told


@dataclass(frozen=True)
class Prepare:
    """Everything between a query and a network's named arrays. Raises ModelError when it contradicts itself."""

    inputs: tuple[PrepareInput, ...]
    boxes: tuple[BoxesInput, ...] = ()
    valid: tuple[ValidInput, ...] = ()
    version: int = VERSION

    def __post_init__(self) -> None:
        names = [part.name for parts in (self.inputs, self.boxes, self.valid) for part in parts]
        if not self.inputs or len(set(names)) != len(names):
            raise ModelError("prepare: it needs inputs, each with its own name")
        if self.version != VERSION:
            text = f"prepare: version {self.version} is unknown"
            raise ModelError(Problem("", text, f"this Espalier knows version {VERSION}", "update Espalier"))
        for frame in [part.frame for part in self.boxes] + [part.frame for part in self.valid]:
            self.input(frame)

    def input(self, name: str | None = None) -> PrepareInput:
        """The picture input of that name, the first without one."""
        found = [part for part in self.inputs if name is None or part.name == name]
        if not found:
            raise ModelError(f"prepare: there is no picture input '{name}'")
        return found[0]

    def at_least(self, least_px: int) -> Prepare:
        """The same, with pictures padded until both sides have `least_px`; inputs of one size are as they were."""
        return replace(self, inputs=tuple(part.at_least(least_px) for part in self.inputs))

    @property
    def paddable(self) -> frozenset[str]:
        """The picture inputs of whose padding the network is told: a batch may hold different sizes of these."""
        return frozenset(part.frame for part in self.valid)

    @property
    def one_size(self) -> bool:
        """Do pictures of any shape come out at one size?"""
        return all(part.one_size for part in self.inputs)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Size of the first input."""
        return self.inputs[0].size_hw

    def place(self, image_HWC: NDArray[Any], name: str | None = None) -> tuple[NDArray[Any], Geometry]:
        """`PrepareInput.place` of the input of that name (the first without one)."""
        return self.input(name).place(image_HWC)

    def pixels(
        self, image_HWC: NDArray[Any], name: str | None = None, *, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """`PrepareInput.pixels` of the input of that name (the first without one)."""
        return self.input(name).pixels(image_HWC, out)

    def __call__(self, query: Any) -> Prepared:
        """The query's arrays. Raises ImageError for a picture that does not suit the network."""
        return self.finished(self.placed(query))

    def placed(self, query: Any) -> Placed:
        """The geometric steps of all its pictures. Raises ImageError for one that does not suit the network."""
        images: dict[str, NDArray[Any]] = {}
        geometries: dict[str, Geometry] = {}
        for part in self.inputs:
            images[part.name], geometries[part.name] = part.place(getattr(query, f"{part.source}_HWC"))
        boxes = {
            part.name: geometries[part.frame].boxes_to_input(getattr(query, part.source)).astype(np.float32)
            for part in self.boxes
        }
        return Placed(images, geometries, boxes)

    def placed_parts(self, query: Any, tiling: Tiling | None) -> Iterator[Placed]:
        """`placed` of each of the query's tiles; of the query itself where there is no tiling."""
        if tiling is None:
            yield self.placed(query)
            return
        for tile, part in tiling.cut(query):
            yield replace(self.placed(part), tile=tile)

    def finished(self, placed: Placed) -> Prepared:
        """The value steps after `placed`."""
        pictures = {part.name: part.pixels(placed.images[part.name]) for part in self.inputs}
        arrays: dict[str, NDArray[Any]] = {**pictures, **placed.boxes, **self.valid_arrays(placed.geometries)}
        return Prepared(arrays, placed.geometries[self.inputs[0].name], placed.geometries, self.paddable)

    def valid_arrays(self, geometries: Mapping[str, Geometry]) -> dict[str, NDArray[np.int64]]:
        """The inputs that say which part of a picture input is no padding, by the maps of the picture inputs."""
        return {part.name: part.array(geometries) for part in self.valid}

    def to_json(self) -> dict[str, Any]:
        """JSON data that `from_json` reads back to an equal Prepare."""
        inputs = [asdict(part) | {"steps": [{"op": s.op, **asdict(s)} for s in part.steps]} for part in self.inputs]
        value: dict[str, Any] = {"version": self.version, "inputs": inputs}
        if self.boxes:
            value["boxes"] = [asdict(boxes) for boxes in self.boxes]
        if self.valid:
            value["valid"] = [asdict(part) for part in self.valid]
        return prepare_json.plain_record(value)

    @staticmethod
    def from_json(value: Any) -> Prepare:
        """The Prepare that JSON data describes. Raises ModelError on anything it does not know, or of another type."""
        top = prepare_json.record(value, "prepare", {"version": int, "inputs": list}, {"boxes": list, "valid": list})
        if top["version"] != VERSION:
            return Prepare((PrepareInput(),), version=top["version"])  # raises, naming the version
        inputs = tuple(_input_from_json(part, f"prepare.inputs[{n}]") for n, part in enumerate(top["inputs"]))
        boxes = [
            prepare_json.build(BoxesInput, part, f"prepare.boxes[{n}]") for n, part in enumerate(top.get("boxes", []))
        ]
        valid = [
            prepare_json.build(ValidInput, part, f"prepare.valid[{n}]") for n, part in enumerate(top.get("valid", []))
        ]
        return Prepare(inputs, tuple(boxes), tuple(valid))


def standard_prepare(
    size_hw: tuple[int, int],
    *,
    channels: Channels = "rgb",
    bands: int = 3,
    fit: FitWord = "centre_crop",
    resample: Resample = "pillow_bilinear",
    crop_fraction: float = 1.0,
    multiple: int = 1,
    value_range: tuple[float, float] = (0.0, 255.0),
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    pad_value: int = 0,
) -> Prepare:
    """The usual prepare of one picture, in a spec's words (`network.input`).

    centre_crop: the shorter edge to floor(size / crop_fraction), then the middle (timm's and torchvision's way).
    letterbox: as large as fits, then padding on the right and bottom. longest_edge: the same without padding.
    capped_edges: the shorter edge to the smaller size, the longer edge at most the larger (DETR's way).
    """
    steps = _fit_steps((size_hw[0], size_hw[1]), fit, resample, crop_fraction, pad_value)
    if multiple > 1:
        steps.append(PadMultiple(multiple, pad_value))
    return Prepare((PrepareInput(
        channels=channels, bands=bands, value_range=(float(value_range[0]), float(value_range[1])),
        steps=(*steps, _normalise(mean, std)),
    ),))  # fmt: skip


def _normalise(mean: Sequence[float], std: Sequence[float]) -> Normalise:
    return Normalise(tuple(map(float, mean)), tuple(map(float, std)))


def _fit_steps(size_hw: tuple[int, int], fit: str, resample: Resample, crop_fraction: float, pad: int) -> list[Step]:
    check_word("fit", fit, FIT_WORDS)
    if fit == "stretch":
        return [Resize("stretch", size_hw, resample)]
    if fit == "capped_edges":
        return [Resize("capped_edges", size_hw, resample)]
    if fit == "centre_crop":
        larger_hw = (math.floor(size_hw[0] / crop_fraction), math.floor(size_hw[1] / crop_fraction))
        return [Resize("shortest_edge", larger_hw, resample), CentreCrop(size_hw)]
    inside = Resize("longest_edge", size_hw, resample)
    return [inside, Pad(size_hw, pad)] if fit == "letterbox" else [inside]


def _input_from_json(value: Any, where: str) -> PrepareInput:
    steps = prepare_json.items(value, where, "steps")
    return prepare_json.build(
        PrepareInput, value, where, steps=tuple(_step(s, f"{where}.{n}") for n, s in enumerate(steps))
    )


def _step(value: Any, where: str) -> Step:
    op = value.get("op") if isinstance(value, dict) else None
    if not isinstance(op, str) or op not in STEPS:
        raise ModelError(Problem(where, f"the step {op!r} is unknown", f"one of {', '.join(STEPS)}", "update Espalier"))
    return prepare_json.build(STEPS[op], {k: v for k, v in value.items() if k != "op"}, where)
