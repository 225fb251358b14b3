"""FAN against a ResNet of like size on real photographs: what each scores clean, and what is left under corruption.

    python benchmarks/robust_backbones.py [--epochs 20] [--size 64] [--keep DIR]

Both are trained by the same command on the same pictures, from random weights (no published weights of either can be
fetched where this was written, and FAN's own are non-commercial), for the same epochs with the same settings; then
`espalier evaluate RUN TEST --corruptions`. The photographs are crown-or-ground patches of aerial pictures
(`examples/crowns.py`); the test pictures come from parts of the aerial pictures that no training patch shows.
Prints a table and fails only where a command fails: which is more robust at this size is the finding, not a bar.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espalier import backbones

ROOT = Path(__file__).parents[1]
PAIR = ("timm/resnet14t", "fan_tiny_8_p4_hybrid")
GROUP = r"data.group=([^/]+)_[0-9]+-[0-9]+\.png"


def espalier(*arguments: str) -> float:
    """Seconds of a command of the house. Exits with its code when it fails."""
    command = [sys.executable, "-m", "espalier", *arguments]
    start = time.perf_counter()
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return time.perf_counter() - start


def train(backbone: str, photos: Path, run: Path, epochs: int, size: int) -> float:
    """Seconds of the training."""
    spec = run.with_suffix(".yaml")
    values = {
        "network": {
            "name": "classifier",
            "backbone": {"name": backbone, "weights": "none"},
            "input": {"size_hw": [size, size], "fit": "stretch"},
        },
        "data": {"train": str(photos / "train")},
        "train": {"epochs": epochs, "batch_size": 32, "lr": 1e-3, "backbone_lr_ratio": 1.0,
                  "augment": {"vflip": 0.5, "scale": [0.6, 1.0]}},
    }  # fmt: skip
    spec.write_text(json.dumps(values))  # JSON is YAML
    return espalier("train", str(spec), "--out", str(run), GROUP)


def corrupted(run: Path, photos: Path, out: Path, *more: str) -> tuple[float, Mapping[str, Any]]:
    """Seconds of the scoring, and its result."""
    seconds = espalier("evaluate", str(run), str(photos / "test"), "--corruptions", "--out", str(out), *more)
    return seconds, json.loads((out / "run.json").read_text())["result"]


def words(figure: Mapping[str, Any]) -> str:
    """Such as '71.0 % (65.2-76.9)'."""
    return f"{100 * figure['value']:.1f} % ({100 * figure['low']:.1f}-{100 * figure['high']:.1f})"


def show(backbone: str, found: Mapping[str, Any], asked: argparse.Namespace, trained_s: float, scored_s: float) -> None:
    """The lines of one encoder."""
    millions = backbones.describe(backbone).params / 1e6
    print(f"{backbone} ({millions:.1f} M parameters): {asked.epochs} epochs at {asked.size} px in {trained_s:.0f} s")
    print(f"  {found['conditions']['pictures']} test pictures, clean and under 15 x 5 corruptions in {scored_s:.0f} s")
    figures = [("clean", "clean"), ("mean", "corrupted"), ("retention", "retention"), ("relative_mce", "relative mCE")]
    print("  " + " · ".join(f"{name} {words(found[key])}" for key, name in figures if found.get(key)))
    groups: dict[str, list[float]] = {}
    for each in found["each"].values():
        groups.setdefault(each["group"], []).append(each["retention"]["value"])
    print("  retention by group: " + ", ".join(f"{g} {100 * sum(v) / len(v):.0f} %" for g, v in groups.items()))


def main() -> int:
    """0 when every command ended well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        photos = folder / "crowns"
        if not photos.exists():
            crowns = [sys.executable, str(ROOT / "examples" / "crowns.py"), "--out", str(photos)]
            subprocess.run([*crowns, "--cache", str(ROOT / ".cache" / "downloads")], check=True, capture_output=True)
        baseline: tuple[str, ...] = ()
        for backbone in PAIR:
            run = folder / backbone.replace("/", "-")
            trained_s = train(backbone, photos, run, asked.epochs, asked.size)
            out = run.with_name(f"{run.name}-corrupted")
            scored_s, result = corrupted(run, photos, out, *baseline)
            show(backbone, result["corruptions"], asked, trained_s, scored_s)
            baseline = (f"evaluate.corruptions.baseline={out}",)
    return 0


if __name__ == "__main__":
    sys.exit(main())
