"""The pictures of the segmenters' benchmarks: tiles of a microscope's picture with every nucleus marked by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from espalier.data.formats import read_splits
from espalier.data.index import Index

ROOT = Path(__file__).parents[2]
NUCLEUS = 1
"""The class's place; the other is the background."""


def made(folder: Path, *, labels: float = 1.0) -> Path:
    """The folder with `train/` and `test/`, with that share of the training pixels' labels."""
    photos = folder / f"nuclei-{100 * labels:.0f}"
    make = [sys.executable, str(ROOT / "examples" / "nuclei_masks.py"), "--out", str(photos), "--labels", str(labels)]
    subprocess.run([*make, "--cache", str(ROOT / ".cache" / "downloads")], check=True, capture_output=True)
    return photos


def parts(photos: Path) -> dict[str, Index]:
    """'train' and 'test'."""
    return read_splits(str(photos), format="masks", images=None, classes="auto", group=None, strict=False)
