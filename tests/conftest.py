"""Shared by all tests: pictures drawn by seed, a cache of their own, and no network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Weights, pinned hashes and features of the tests never meet the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("ESPALIER_CACHE")
    os.environ["ESPALIER_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["ESPALIER_CACHE"]
    else:
        os.environ["ESPALIER_CACHE"] = before


def draw_photos(
    folder: Path, *, classes: tuple[str, ...] = ("disc", "bars", "plain"), count: int = 12, seed: int = 0
) -> Path:
    """`folder/<class>/<n>.png`: noisy 48×56 px pictures, by class a disc, bars or nothing on a tinted ground."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:48, 0:56]
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for n in range(count):
            image = rng.integers(60, 120, 3) + rng.normal(0, 12, (48, 56, 3))
            cy, cx = rng.uniform(16, 32), rng.uniform(18, 38)
            if name == "disc":
                image[(y - cy) ** 2 + (x - cx) ** 2 < rng.uniform(8, 13) ** 2] += (110, 40, 0)
            elif name == "bars":
                image[(x + rng.integers(0, 8)) % 10 < 4] += (0, 60, 120)
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / name / f"{n:03d}.png")
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 3 × 12 drawn pictures, a folder for each class; not to be written to."""
    return draw_photos(tmp_path_factory.mktemp("photos"))
