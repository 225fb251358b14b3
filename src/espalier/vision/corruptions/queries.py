"""Any query corrupted: each of its pictures, with everything that lies on them staying where it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.vision.corruptions import Corruption, corrupt
from espalier.vision.prepare import Placed, Prepare, PrepareInput


def corrupt_placed(placed: Placed, prepare: Prepare, corruption: Corruption, *, seed: int, key: str) -> Placed:
    """The query as the network would see it, with its pictures corrupted in the network's pixels; padding stays."""
    images = {}
    for part in prepare.inputs:
        height, width = placed.geometries[part.name].valid_hw
        whole = placed.images[part.name]
        found = _corrupted(whole[:height, :width], part, prepare, corruption, seed, key)
        images[part.name] = _padded_as(whole, found)
    return replace(placed, images=images)


def corrupt_query(query: Any, prepare: Prepare, corruption: Corruption, *, seed: int, key: str) -> Any:
    """The query with its pictures corrupted in their own pixels. Each picture must have the channels of its input."""
    changed = {}
    for part in prepare.inputs:
        name = f"{part.source}_HWC"
        changed[name] = _corrupted(getattr(query, name), part, prepare, corruption, seed, key)
    return replace(query, **changed)


def _corrupted(
    image_HWC: NDArray[Any], part: PrepareInput, prepare: Prepare, corruption: Corruption, seed: int, key: str
) -> NDArray[Any]:
    """A query's second picture draws otherwise than its first."""
    own = key if part == prepare.inputs[0] else f"{key}\0{part.name}"
    alpha = part.channels == "rgba"
    return corrupt(image_HWC, corruption.name, corruption.severity, seed=seed, key=own, alpha=alpha)


def _padded_as(whole_HWC: NDArray[Any], part_HWC: NDArray[Any]) -> NDArray[Any]:
    if part_HWC.shape == whole_HWC.shape:
        return part_HWC
    padded = np.array(whole_HWC)
    padded[: part_HWC.shape[0], : part_HWC.shape[1]] = part_HWC
    return padded
