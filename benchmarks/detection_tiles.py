"""Large photographs whole against tile by tile: the same network, minutes and seed, both scored on whole photographs.

    python benchmarks/detection_tiles.py [--minutes 20] [--preset nano] [--seeds 3] [--keep FOLDER]

Aerial photographs with every tree crown boxed by hand (`examples/crown_boxes.py --tile 0`: up to 937 × 1035 px, crowns
of some 30 px), by the public path: a spec with `network.input.tile_px` 0 or auto, `espalier train`, and `espalier
evaluate` on the parts of the photographs that no training pixel comes from. `--keep` leaves the drawn answers there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from detectors.crown_boxes import BACKBONE, ROOT, WEIGHTS, command

WAYS: dict[str, int | str] = {"whole": 0, "tiles": "auto"}
FIGURES = ("map", "ap50", "ar100", "f1")


def photographs(folder: Path) -> Path:
    """`train/` and `test/`, uncut."""
    photos = folder / "large"
    make = [sys.executable, str(ROOT / "examples" / "crown_boxes.py"), "--tile", "0", "--out", str(photos)]
    subprocess.run([*make, "--cache", str(ROOT / ".cache" / "downloads")], check=True, capture_output=True)
    return photos


def spec(photos: Path, way: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Training ends with the minutes; nothing is chosen on the test pictures, as the last weights are kept."""
    backbone = {} if args.preset == "tiny" else {"backbone": {"name": BACKBONE, "weights": BACKBONE}}
    return {
        "seed": seed,
        "network": {"name": "dino", "preset": args.preset, "input": {"tile_px": WAYS[way]}, **backbone},
        "data": {"train": str(photos / "train"), "val": str(photos / "test")},
        "train": {
            "minutes": args.minutes, "by_clock": True, "epochs": 10_000, "evaluate_every_epochs": 10_000,
            "device": "cpu", "tensorboard": False, "augment": {"vflip": 0.5},
        },
    }  # fmt: skip


def scored(photos: Path, way: str, seed: int, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The figures on whole photographs, and what was trained."""
    run = folder / f"{way}-{seed}"
    file = folder / f"{way}-{seed}.yaml"
    file.write_text(json.dumps(spec(photos, way, seed, args)))  # JSON is YAML
    command("train", str(file), "--out", str(run))
    out = folder / f"{way}-{seed}-score"
    command("evaluate", str(run), str(photos / "test"), "--out", str(out), "evaluate.bootstrap=0")
    pictures = folder / f"{way}-{seed}-drawn"
    command("predict", str(run), str(photos / "test"), "--out", str(pictures), "--formats", "json,pictures")
    result = json.loads((out / "run.json").read_text())["result"]["figures"]
    trained = json.loads((run / "run.json").read_text())["result"]
    tiles = json.loads((run / "checkpoints" / "best" / "checkpoint.json").read_text())["tiles"]
    return {
        **{key: result[key]["value"] for key in FIGURES if key in result},
        "steps": trained["steps"],
        "tiles": tiles,
    }


def main() -> None:
    """Prints a line for each training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=Path, default=None)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tiles-") as name:
        folder = Path(name) if args.keep is None else args.keep
        folder.mkdir(parents=True, exist_ok=True)
        photos = photographs(folder)
        if args.preset != "tiny":
            command("weights", "import", WEIGHTS, "--as", BACKBONE)
        print(f"dino {args.preset}, {args.minutes:g} minutes each, scored on whole photographs")
        for seed in range(args.seeds):
            for way in WAYS:
                found = scored(photos, way, seed, args, folder)
                figures = ", ".join(f"{key} {100 * found[key]:.1f} %" for key in FIGURES if key in found)
                tile = "" if found["tiles"] is None else f" of {found['tiles']['tile_px']} px"
                print(f"{way}{tile}, seed {seed}: {figures} ({found['steps']} steps)", flush=True)


if __name__ == "__main__":
    main()
