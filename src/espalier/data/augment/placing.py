"""Where a picture's content goes: which part of it, and at which size in the network's pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.data.augment.crops import TRIES, Size, random_box, random_part, whole, window
from espalier.spec.training import AugmentSpec
from espalier.vision.channels import as_channels
from espalier.vision.geometry import Geometry
from espalier.vision.prepare import Pad, PrepareInput, Resize
from espalier.vision.resize import Box, resize

_ALL = (1.0, 1.0)


@dataclass(frozen=True)
class Place:
    """The part `box` of a picture (xyxy, whole source pixels) at `size_hw` in the network's pixels."""

    box: Box
    size_hw: Size

    def geometry(self, source_hw: Size) -> Geometry:
        """The map from the picture to its part."""
        left, top, right, bottom = self.box
        scale_xy = (self.size_hw[1] / (right - left), self.size_hw[0] / (bottom - top))
        return Geometry(source_hw, self.size_hw, scale_xy, (-left * scale_xy[0], -top * scale_xy[1]), self.size_hw)


Suits = Callable[[Geometry], bool]
"""Is a part worth learning from? By the map from the picture to it."""


def any_part(geometry: Geometry) -> bool:
    """Each part suits."""
    return True


def placed(
    image_HWC: NDArray[Any],
    rule: PrepareInput,
    spec: AugmentSpec,
    rng: np.random.Generator,
    *,
    suits: Suits = any_part,
) -> tuple[NDArray[Any], Geometry]:
    """A random part of the picture at a random size, as the spec has it, without padding; else as in deployment."""
    if not _moves(spec):
        return without_padding(rule).place(image_HWC)
    image_HWC = as_channels(image_HWC, rule.channels, bands=rule.bands)
    source_hw = (image_HWC.shape[0], image_HWC.shape[1])
    place = suiting(random_place(source_hw, rule, spec, rng), source_hw, suits, rng)
    return resize(image_HWC, place.size_hw, rule.resample, box=place.box), place.geometry(source_hw)


def _moves(spec: AugmentSpec) -> bool:
    return bool(tuple(spec.scale) != _ALL or tuple(spec.jitter) != _ALL or spec.sizes or spec.crop)


def without_padding(rule: PrepareInput) -> PrepareInput:
    """The rule for what the network sees, before anything is added around it."""
    return replace(rule, steps=tuple(step for step in rule.steps if step not in (rule.pad, rule.pad_multiple)))


def random_place(source_hw: Size, rule: PrepareInput, spec: AugmentSpec, rng: np.random.Generator) -> Place:
    """Part, size and jitter, drawn in this order; what is larger than the input is cut out of at random."""
    box, stretched = _part(source_hw, rule, spec, rng)
    fitted_hw = rule.size_hw if stretched else fitted(_size(box), rule, spec, rng)
    factor = float(rng.uniform(*spec.jitter))
    size_hw = _times(fitted_hw, factor)
    canvas_hw = rule.size_hw if rule.one_size else fitted_hw
    inside_hw = (min(size_hw[0], canvas_hw[0]), min(size_hw[1], canvas_hw[1]))
    if inside_hw == size_hw:
        return Place(box, size_hw)
    part_hw = [max(1, round(o * i / s)) for o, i, s in zip(_size(box), inside_hw, size_hw, strict=True)]
    return Place(window(box, (part_hw[0], part_hw[1]), rng), inside_hw)


def suiting(place: Place, source_hw: Size, suits: Suits, rng: np.random.Generator) -> Place:
    """The place if it suits, else others of its size, the last one however it is.

    The rule of mmsegmentation's RandomCrop (Apache-2.0), which published segmenters were trained with: sizes keep their
    distribution, and a picture without a suiting part is learnt from all the same.
    """
    part_hw = _size(place.box)
    if part_hw == source_hw:
        return place
    for _ in range(TRIES):
        if suits(place.geometry(source_hw)):
            break
        place = replace(place, box=window(whole(source_hw), part_hw, rng))
    return place


def _part(source_hw: Size, rule: PrepareInput, spec: AugmentSpec, rng: np.random.Generator) -> tuple[Box, bool]:
    """The part, and whether it is stretched to the input, as classifiers are trained."""
    if tuple(spec.scale) != _ALL:
        return random_box(source_hw, spec, rng), rule.crop is not None
    if spec.crop and rng.random() < spec.crop:
        return random_part(source_hw, spec, rng), False
    return whole(source_hw), False


def fitted(size_hw: Size, rule: PrepareInput, spec: AugmentSpec, rng: np.random.Generator) -> Size:
    """The size at which a picture of `size_hw` enters, by prepare's own rule and with a shorter edge that is drawn."""
    if rule.resize is None:
        return size_hw
    if not spec.sizes or rule.resize.fit not in ("capped_edges", "longest_edge"):
        return rule.resize.size_of(size_hw)
    edge = int(rng.choice(spec.sizes))
    if rule.resize.fit == "capped_edges":
        low, high = sorted(rule.resize.size_hw)
        return Resize("capped_edges", (min(edge, low), high)).size_of(size_hw)
    own_hw = rule.resize.size_of(size_hw)
    return _times(own_hw, min(1.0, edge / min(own_hw)))


def _times(size_hw: Size, factor: float) -> Size:
    return max(1, round(size_hw[0] * factor)), max(1, round(size_hw[1] * factor))


def _size(box: Box) -> Size:
    return round(box[3] - box[1]), round(box[2] - box[0])


def on_canvas(image_HWC: NDArray[Any], rule: PrepareInput) -> NDArray[Any]:
    """The picture with prepare's padding on the right and at the bottom, whatever its size is now."""
    size_hw = rule.size_hw if rule.one_size else (image_HWC.shape[0], image_HWC.shape[1])
    size_hw = rule.pad_multiple.size_of(size_hw) if rule.pad_multiple else size_hw
    if image_HWC.shape[:2] == size_hw:
        return image_HWC
    values = [step.value for step in (rule.pad, rule.pad_multiple) if step is not None]
    return Pad(size_hw, values[0] if values else 0).apply(image_HWC)
