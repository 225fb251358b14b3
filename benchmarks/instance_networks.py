"""Which network outlines objects better after a few minutes of `fit`: the preset nano_masks of `fcos` and of `dino`.

    python benchmarks/instance_networks.py [--minutes 4] [--seeds 1] [--networks fcos dino]

Nuclei of a fluorescence picture, every one outlined by hand (`examples/nuclei.py`): tiles of its left half, the upper
three quarters to learn from and the rest to score on. Both start from the same encoder's ImageNet weights, and both are
the whole of `espalier fit`, each in a process of its own for that many minutes of its own CPU time, on one thread.
Prints the scores of the bundle; which network is better is the finding, not a bar.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from detectors.crown_boxes import BACKBONE, ROOT, WEIGHTS, command

SHOWN = ("map", "ap50", "boundary_map")


def nuclei(folder: Path) -> Path:
    """The folder with `train/` and `val/`; the encoder's start weights are in the cache afterwards."""
    make = [sys.executable, str(ROOT / "examples" / "nuclei.py"), "--out", str(folder / "nuclei")]
    subprocess.run([*make, "--cache", str(ROOT / ".cache" / "downloads")], check=True, capture_output=True)
    command("weights", "import", WEIGHTS, "--as", BACKBONE)
    return folder / "nuclei"


def fitted(photos: Path, out: Path, *, network: str, minutes: float, seed: int) -> dict[str, Any]:
    """The figures of `espalier fit`, on a clock that shows this process's CPU time."""
    time.perf_counter = time.process_time  # before anything of the house reads it
    import torch

    import espalier

    torch.set_num_threads(1)
    overrides = [
        f"seed={seed}", f"fit.minutes={minutes}", "train.workers=0", "fit.report=false", f"network.name={network}",
        "network.preset=nano_masks", f"network.backbone.name={BACKBONE}", f"network.backbone.weights={BACKBONE}",
    ]  # fmt: skip
    figures: dict[str, Any] = espalier.fit(photos, out=out, overrides=overrides, progress=False)["figures"]
    return figures


def alone(photos: Path, out: Path, network: str, minutes: float, seed: int) -> dict[str, Any]:
    """The same in a process of its own. Exits with its words when it fails."""
    asked = json.dumps({"network": network, "minutes": minutes, "seed": seed})
    words = [sys.executable, __file__, "--one", asked, "--photos", str(photos), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{network}\n{done.stdout}{done.stderr}")
    figures: dict[str, Any] = json.loads((out / "figures.json").read_text())
    return figures


def shown(figure: dict[str, Any] | None) -> str:
    """A score with its interval, in per cent."""
    if figure is None:
        return "–"
    value, low, high = (
        100 * figure[key] if figure[key] is not None else float("nan") for key in ("value", "low", "high")
    )
    return f"{value:.1f} ({low:.1f} to {high:.1f})"


def main() -> int:
    """0 when every training ended well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4.0, help="of CPU time, each, all of `fit`")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--networks", nargs="*", default=["fcos", "dino"])
    for hidden in ("--one", "--photos", "--out"):
        parser.add_argument(hidden, help=argparse.SUPPRESS, type=str if hidden == "--one" else Path)
    args = parser.parse_args()
    if args.one:
        figures = fitted(args.photos, args.out / "run", **json.loads(args.one))
        (args.out / "figures.json").write_text(json.dumps(figures))
        return 0
    with tempfile.TemporaryDirectory(prefix="outlines-") as scratch:
        photos = nuclei(Path(scratch))
        print(" | ".join(["network", "seed", *SHOWN]), flush=True)
        for seed in range(args.seeds):
            for network in args.networks:
                out = Path(scratch) / f"{network}-{seed}"
                out.mkdir()
                found = alone(photos, out, network, args.minutes, seed)
                print(" | ".join([network, str(seed), *(shown(found.get(key)) for key in SHOWN)]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
