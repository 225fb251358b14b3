"""Prepared queries as one batch: pictures of different sizes are padded where the network is told of the padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.vision.geometry import Geometry
from espalier.vision.prepare import Prepared

Size = tuple[int, int]


def largest(sizes_hw: Sequence[Size]) -> Size:
    """The smallest size that holds all of these."""
    return max(height for height, _ in sizes_hw), max(width for _, width in sizes_hw)


def suits(prepared: Prepared) -> dict[str, tuple[int, ...]]:
    """What the arrays of queries must have in common to go into one batch: shapes, but for what may be padded."""
    return {
        name: array.shape[:-2] if name in prepared.paddable else array.shape for name, array in prepared.arrays.items()
    }


def stacked(prepared: Sequence[Prepared]) -> tuple[dict[str, NDArray[Any]], list[Geometry]]:
    """The arrays of queries that suit each other, stacked, and the maps of their first pictures onto the batch's.

    What is smaller than the batch's largest picture gets zeros on the right and at the bottom.
    """
    sizes = {name: largest([size_of(p.arrays[name]) for p in prepared]) for name in prepared[0].paddable}
    alike = [padded(each, sizes) for each in prepared]
    inputs = {name: np.stack([each.arrays[name] for each in alike]) for name in alike[0].arrays}
    return inputs, [each.geometry for each in alike]


def padded(prepared: Prepared, sizes_hw: Mapping[str, Size]) -> Prepared:
    """The query with those of its pictures that may be padded at these sizes, where they are not larger already."""
    grows = [name for name in sorted(prepared.paddable & set(sizes_hw)) if _fits(prepared.arrays[name], sizes_hw[name])]
    if not grows:
        return prepared
    arrays = prepared.arrays | {name: _grown(prepared.arrays[name], sizes_hw[name]) for name in grows}
    maps = {name: on_larger(prepared.geometries[name], sizes_hw[name]) for name in grows}
    geometries = {**prepared.geometries, **maps}
    first = next(iter(prepared.geometries))
    return replace(prepared, arrays=arrays, geometry=geometries[first], geometries=geometries)


def on_larger(geometry: Geometry, size_hw: Size) -> Geometry:
    """The map onto an input of that size, whose top left part is this one's."""
    return geometry if geometry.input_hw == size_hw else geometry.then(Geometry.pad(geometry.input_hw, size_hw))


def size_of(array_CHW: NDArray[Any]) -> Size:
    """Height and width of an array (…, H, W)."""
    return int(array_CHW.shape[-2]), int(array_CHW.shape[-1])


def _fits(array_CHW: NDArray[Any], size_hw: Size) -> bool:
    """Is it smaller than that, and nowhere larger?"""
    own = size_of(array_CHW)
    return own != size_hw and largest([own, size_hw]) == size_hw


def _grown(array_CHW: NDArray[Any], size_hw: Size) -> NDArray[Any]:
    height, width = size_of(array_CHW)
    grown = np.zeros((*array_CHW.shape[:-2], *size_hw), array_CHW.dtype)
    grown[..., :height, :width] = array_CHW
    return grown
