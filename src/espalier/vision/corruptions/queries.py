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
    seen_HWC = _stretched(image_HWC, part)
    found = corrupt(seen_HWC, corruption.name, corruption.severity, seed=seed, key=own, alpha=alpha)
    return found if seen_HWC is image_HWC else _shrunk(found, image_HWC, part)


DEEPEST = 65535


def _stretched(image_HWC: NDArray[Any], part: PrepareInput) -> NDArray[Any]:
    """A picture of 16 bits with the network's white as the brightest value: corruptions are shares of full light, and a
    camera that uses 12 of 16 bits is not in the dark."""
    low, high = part.value_range
    if image_HWC.dtype != np.uint16 or high <= 255 or (low, high) == (0, DEEPEST):
        return image_HWC
    share_HWC = (image_HWC.astype(np.float32) - low) / (high - low)
    return _with_alpha(np.rint(share_HWC.clip(0, 1) * DEEPEST).astype(np.uint16), image_HWC, part)


def _shrunk(found_HWC: NDArray[Any], image_HWC: NDArray[Any], part: PrepareInput) -> NDArray[Any]:
    """The way back."""
    low, high = part.value_range
    value_HWC = low + found_HWC.astype(np.float32) / DEEPEST * (high - low)
    return _with_alpha(np.rint(value_HWC.clip(0, DEEPEST)).astype(np.uint16), image_HWC, part)


def _with_alpha(changed_HWC: NDArray[Any], image_HWC: NDArray[Any], part: PrepareInput) -> NDArray[Any]:
    if part.channels == "rgba":
        changed_HWC[:, :, -1] = image_HWC[:, :, -1]
    return changed_HWC


def _padded_as(whole_HWC: NDArray[Any], part_HWC: NDArray[Any]) -> NDArray[Any]:
    if part_HWC.shape == whole_HWC.shape:
        return part_HWC
    padded = np.array(whole_HWC)
    padded[: part_HWC.shape[0], : part_HWC.shape[1]] = part_HWC
    return padded
