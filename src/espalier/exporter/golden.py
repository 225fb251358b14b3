"""Golden inputs drawn by seed: somebody's pictures need not travel, and a drawn one still has edges and textures."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.vision.prepare import Prepare
from espalier.vision.tiling import Tiling

_SCALES = ((1.0, 1.0), (1.4, 1.1), (0.8, 1.3), (1.2, 0.7))
"""Heights and widths over the network's: larger, smaller, wide, tall, so that every step of prepare has work."""


_TILE_SCALES = ((1.0, 1.0), (0.7, 0.9), (0.6, 0.8))
"""Of pictures that a tile holds: as large as one, and smaller."""


def drawn(prepare: Prepare, *, seed: int, tiling: Tiling | None = None) -> Iterator[dict[str, NDArray[Any]]]:
    """Queries without end, as the arrays `<source>_HWC` that prepare takes; the same seed draws the same.

    With a tiling the first has two tiles, and the others one.
    """
    rng = np.random.default_rng(seed)
    return (_query(prepare, size_hw, rng) for size_hw in _sizes(prepare, tiling))


def _sizes(prepare: Prepare, tiling: Tiling | None) -> Iterator[tuple[int, int]]:
    scales = _SCALES if tiling is None else _TILE_SCALES
    size_hw = prepare.size_hw if tiling is None else (tiling.tile_px, tiling.tile_px)
    sizes = (_scaled(size_hw, scale_yx) for scale_yx in cycle(scales if prepare.one_size else scales[:1]))
    return sizes if tiling is None else chain([tiling.pair_hw], sizes)


def _scaled(size_hw: tuple[int, int], scale_yx: tuple[float, float]) -> tuple[int, int]:
    return max(8, round(size_hw[0] * scale_yx[0])), max(8, round(size_hw[1] * scale_yx[1]))


def _query(prepare: Prepare, size_hw: tuple[int, int], rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    pictures = {
        f"{part.source}_HWC": draw_picture(size_hw, part.bands, rng, values=part.value_range) for part in prepare.inputs
    }
    return pictures | {boxes.source: _boxes(size_hw, rng) for boxes in prepare.boxes}


def draw_picture(
    size_hw: tuple[int, int], bands: int, rng: np.random.Generator, *, values: tuple[float, float] = (0.0, 255.0)
) -> NDArray[Any]:
    """A picture (H, W, bands) of clouds, rectangles and noise; uint8, or with `values` above 255 uint16 within them."""
    deep = values[1] > 255
    low, high = (float(np.clip(end, 0, 65535)) for end in values) if deep else (0.0, 255.0)
    image_HWC = np.stack([_clouds(size_hw, rng) for _ in range(bands)], axis=-1)
    for _ in range(6):
        _rectangle(image_HWC, rng)
    image_HWC += rng.normal(0, 0.03, image_HWC.shape)
    return (low + image_HWC.clip(0, 1) * (high - low)).round().astype(np.uint16 if deep else np.uint8)


def _boxes(size_hw: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Three boxes xyxy (3, 4) inside the picture."""
    height, width = size_hw
    corner_32 = rng.random((3, 2)) * (0.6 * width, 0.6 * height)
    size_32 = (0.1 + 0.3 * rng.random((3, 2))) * (width, height)
    return np.concatenate([corner_32, corner_32 + size_32], axis=1).astype(np.float32)


def _clouds(size_hw: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    import cv2

    coarse = rng.random((4, 4))
    return cv2.resize(coarse, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_LINEAR).astype(np.float64)


def _rectangle(image_HWC: NDArray[np.float64], rng: np.random.Generator) -> None:
    height, width, bands = image_HWC.shape
    y, x = rng.integers(0, height), rng.integers(0, width)
    h, w = rng.integers(1, height // 3 + 2), rng.integers(1, width // 3 + 2)
    image_HWC[y : y + h, x : x + w] = rng.random(bands)
