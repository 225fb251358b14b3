"""Pictures in folders are trained on where neither OpenCV nor msgspec nor faster-coco-eval is installed.

`scripts/gpu-check` runs on machines that have PyTorch and little else.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import espalier

SOURCE = Path(espalier.__file__).parents[1]

PROGRAM = """
import importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("cv2", "msgspec", "faster_coco_eval"):
            raise ModuleNotFoundError(f"No module named {name!r} (blocked)", name=name)

sys.meta_path.insert(0, Blocked())
from espalier.actions.api import call
spec = {
    "network": {"name": "classifier", "preset": "tiny", "input": {"size_hw": [32, 32]}},
    "data": {"train": sys.argv[1], "near_duplicates": False},
    "train": {"epochs": 1, "batch_size": 8, "workers": 1, "device": "cpu"},
}
print(call("train", {}, spec=spec, out=sys.argv[2])["steps"])
"""


def test_training_needs_no_opencv(photos: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(photos), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        cwd=SOURCE,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "3"
