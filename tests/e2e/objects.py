"""Pictures with red and blue rectangles, as Pascal VOC, and a tiny detector's spec: what detectors are tested with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from espalier.runs.run import Run

COLOURS = {"red": (210, 60, 50), "blue": (50, 80, 220), "green": (60, 200, 70)}


def draw_objects(
    folder: Path,
    *,
    count: int = 16,
    empty: int = 3,
    most: int = 3,
    classes: Sequence[str] = ("red", "blue"),
    seed: int = 0,
) -> Path:
    """`folder/<n>.png` and `.xml`: noisy 72×96 px pictures with up to `most` rectangles, none in the first `empty`."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        image = rng.integers(40, 90, 3) + rng.normal(0, 8, (72, 96, 3))
        found = []
        for _ in range(0 if n < empty else int(rng.integers(1, most + 1))):
            name = str(rng.choice(list(classes)))
            width, height = (int(side) for side in rng.integers(16, 34, 2))
            x, y = int(rng.integers(1, 96 - width)), int(rng.integers(1, 72 - height))
            image[y : y + height, x : x + width] = COLOURS[name]
            found.append((name, x, y, x + width, y + height))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"{n:03d}.png")
        (folder / f"{n:03d}.xml").write_text(_xml(f"{n:03d}.png", found))
    return folder


def _xml(picture: str, found: Sequence[tuple[str, int, int, int, int]]) -> str:
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for name, x0, y0, x1, y1 in found
    )
    size = "<size><width>96</width><height>72</height><depth>3</depth></size>"
    return f"<annotation><filename>{picture}</filename>{size}{objects}</annotation>"


def detector_spec(boxes: Path, *, network: dict[str, Any] | None = None, **train: Any) -> dict[str, Any]:
    """A tiny detector for a few seconds of training."""
    return {
        "name": "boxes",
        "network": {"name": "dino", "preset": "tiny", **(network or {})},
        "data": {"train": str(boxes)},
        "train": {
            "epochs": 24, "batch_size": 4, "workers": 0, "device": "cpu", "lr": 0.002, "tensorboard": False,
            "evaluate_every_epochs": 10, "augment": {"scale": [1, 1]}, **train,
        },
        "evaluate": {"bootstrap": 20, "pictures": 2},
    }  # fmt: skip


def told(run: Path, *kinds: str) -> str:
    """What was said, decided or warned of."""
    return "\n".join(str(event) for event in Run.open(run).events() if event["kind"] in (kinds or ("say", "warning")))
