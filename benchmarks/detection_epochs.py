"""mAP by epoch: DINO, DINO without denoising, Deformable DETR plain and two-stage; same encoder, pictures and seeds.

    python benchmarks/detection_epochs.py [--epochs 60] [--every 6] [--seeds 3]

Tiles with tree crowns (`examples/crown_boxes.py`), one small shape for all (the preset `nano`, one encoder layer), the
published losses, one rate, scored on the test tiles every few epochs of a cosine schedule that ends with the last. Says
after how many epochs each first reaches the final score of the plain Deformable DETR (the papers: 12 against 50). What
comes out is the finding, not a bar.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from detectors.crown_boxes import BACKBONE, command, fetched

PUBLISHED_LOSS = {"score": "presence"}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "Deformable DETR": {"name": "deformable_detr", "refine": False, "two_stage": False, "loss": PUBLISHED_LOSS},
    "Deformable DETR, two-stage": {
        "name": "deformable_detr", "refine": True, "two_stage": True, "loss": PUBLISHED_LOSS,
    },
    "DINO without denoising": {
        "name": "dino", "denoising": {"queries": 0}, "loss": {**PUBLISHED_LOSS, "dense_weight": 0.0},
    },
    "DINO": {"name": "dino", "loss": {**PUBLISHED_LOSS, "dense_weight": 0.0}},
}  # fmt: skip


def spec(variant: Mapping[str, Any], photos: Path, args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The same but for the network."""
    return {
        "network": {
            "preset": "nano",
            "encoder_layers": 1,
            "backbone": {"name": BACKBONE, "weights": BACKBONE},
            **variant,
        },
        "data": {"train": str(photos / "train"), "val": str(photos / "test")},
        "train": {
            "epochs": args.epochs,
            "evaluate_every_epochs": args.every,
            "batch_size": 2,
            "lr": 4e-4,
            "device": "cpu",
            "workers": 0,
        },
        "evaluate": {"bootstrap": 100},
        "seed": seed,
    }


def curve(events: Path) -> dict[int, float]:
    """mAP after each epoch that was scored."""
    found = [event for event in map(json.loads, events.read_text().splitlines()) if event["kind"] == "epoch"]
    return {event["epoch"]: event["figures"]["map"] for event in found if event["figures"]}


def reached(curve_of: Mapping[int, float], score: float) -> str:
    """The first epoch with so high a score."""
    return next((f"after epoch {epoch}" for epoch, value in sorted(curve_of.items()) if value >= score), "never")


def averaged(curves: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Over the seeds."""
    return {epoch: mean(each[epoch] for each in curves) for epoch in curves[0]}


def main() -> int:
    """0 when all were trained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--every", type=int, default=6, help="epochs between two scores")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    final = 0.0
    with tempfile.TemporaryDirectory(prefix="epochs-") as name:
        folder = Path(name)
        photos = fetched(folder)
        for variant, network in VARIANTS.items():
            curves = []
            for seed in range(args.seeds):
                place = folder / f"{len(list(folder.iterdir()))}"
                file = place.with_suffix(".yaml")
                file.write_text(json.dumps(spec(network, photos, args, seed)))  # JSON is YAML
                command("train", str(file), "--out", str(place))
                curves.append(curve(place / "events.jsonl"))
            found = averaged(curves)
            final = final or max(found[max(found)], 1e-9)  # the first variant's
            values = " ".join(f"{epoch}:{100 * value:.1f}" for epoch, value in sorted(found.items()))
            print(f"{variant}: {values} · {100 * final:.1f} % reached {reached(found, final)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
