"""AP by epoch: DINO with and without denoising, Deformable DETR plain and two-stage; same encoder, pictures and seeds.

    python benchmarks/detection_epochs.py [--pictures drawn] [--epochs 40] [--every 4] [--seeds 3]

`--pictures drawn` takes 200 drawn pictures to learn from and 100 others to score on (detectors/drawn_shapes.py), and a
network small enough for a minute a training, from random weights: the preset `tiny` with 20 queries on three levels,
one encoder and two decoder layers. `--pictures crowns` takes 20 tiles with tree crowns (`examples/crown_boxes.py`) and
the preset `nano` with one encoder layer; on so few pictures all stay near an AP of 5 %, and ask for 60 epochs at least.

All have the published losses and queries. AP every few epochs of a cosine schedule that ends with the last, and the
epochs after which each seed first reaches the plain Deformable DETR's mean final score (the papers: 12 against 50).
What comes out is the finding, not a bar.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from detectors.crown_boxes import BACKBONE, fetched
from detectors.drawn_shapes import SIDE_PX, draw

import espalier

Curve = Mapping[int, float]  # AP by epoch

PUBLISHED_DINO = {"name": "dino", "query_content": "learnt", "loss": {"score": "presence", "dense_weight": 0.0}}
PUBLISHED_DETR = {"name": "deformable_detr", "loss": {"score": "presence"}}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "Deformable DETR": {**PUBLISHED_DETR, "refine": False, "two_stage": False},  # the first sets the score to reach
    "Deformable DETR, two-stage": {**PUBLISHED_DETR, "refine": True, "two_stage": True},
    "DINO without denoising": {**PUBLISHED_DINO, "denoising": {"queries": 0}},
    "DINO": {**PUBLISHED_DINO, "denoising": {"queries": 100}},
}
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "drawn": {
        "preset": "tiny", "levels": 3, "finest_stride": 8, "queries": 20, "detections": 20,
        "encoder_layers": 1, "decoder_layers": 2,
        "input": {
            "size_hw": [SIDE_PX, SIDE_PX], "channels": "rgb", "bands": 3, "fit": "letterbox", "crop_fraction": 1.0,
            "resample": "pillow_bilinear", "value_range": [0, 255], "mean": [0.5] * 3, "std": [0.5] * 3,
        },
    },
    "crowns": {"preset": "nano", "encoder_layers": 1, "backbone": {"name": BACKBONE, "weights": BACKBONE}},
}  # fmt: skip
TRAINING: Mapping[str, Mapping[str, Any]] = {
    "drawn": {"batch_size": 8, "lr": 1e-3, "augment": {"scale": [1.0, 1.0]}},
    "crowns": {"batch_size": 2, "lr": 4e-4},
}
DRAWN = {"train": (200, 1), "test": (100, 2)}  # pictures and seed


def photographs(name: str, folder: Path) -> Path:
    """The folder with `train/` and `test/`."""
    if name == "crowns":
        return fetched(folder)
    for part, (count, seed) in DRAWN.items():
        draw(folder / part, count=count, seed=seed)
    return folder


def spec(variant: str, photos: Path, args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The same but for the network and the seed."""
    training = {"epochs": args.epochs, "evaluate_every_epochs": args.every, "device": "cpu", "workers": 0}
    return {
        "network": {**SHAPES[args.pictures], **VARIANTS[variant]},
        "data": {"train": str(photos / "train"), "val": str(photos / "test")},
        "train": {**training, "tensorboard": False, **TRAINING[args.pictures]},
        "evaluate": {"bootstrap": 100},
        "seed": seed,
    }


def trained(values: dict[str, Any], run: Path) -> Curve:
    """AP after each epoch that was scored."""
    espalier.train(values, out=run, progress=False)
    events = map(json.loads, (run / "events.jsonl").read_text().splitlines())
    return {
        event["epoch"]: event["figures"]["map"] for event in events if event["kind"] == "epoch" and event["figures"]
    }


def reached(curve: Curve, score: float) -> float:
    """The first epoch with so high a score, or infinity."""
    return next((epoch for epoch, value in sorted(curve.items()) if value >= score), math.inf)


def by_epoch(curves: Sequence[Curve]) -> str:
    """Mean over the seeds, lowest and highest."""
    values = {epoch: [100 * curve[epoch] for curve in curves] for epoch in sorted(curves[0])}
    return " · ".join(f"{epoch}: {mean(v):.1f} ({min(v):.1f}-{max(v):.1f})" for epoch, v in values.items())


def needed(curves: Sequence[Curve], score: float) -> str:
    """After how many epochs the score was reached, by the mean of the curves and by each."""
    average = {epoch: mean(curve[epoch] for curve in curves) for epoch in curves[0]}
    alone = ", ".join(_epochs(reached(curve, score)) for curve in curves)
    return f"{100 * score:.1f} reached after epoch {_epochs(reached(average, score))} by the mean, {alone} by each seed"


def _epochs(value: float) -> str:
    return "never" if math.isinf(value) else str(value)


def main() -> int:
    """0 when all were trained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", choices=SHAPES, default="drawn")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--every", type=int, default=4, help="epochs between two scores")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    score = 0.0
    with tempfile.TemporaryDirectory(prefix="epochs-") as name:
        photos = photographs(args.pictures, Path(name))
        for variant in VARIANTS:
            cpu, wall = time.process_time(), time.perf_counter()
            runs = [Path(name) / f"{variant} {seed}" for seed in range(args.seeds)]
            curves = [trained(spec(variant, photos, args, seed), run) for seed, run in enumerate(runs)]
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            score = score or mean(curve[max(curve)] for curve in curves)
            print(f"\n{variant}: AP in % after epoch {by_epoch(curves)}")
            print(f"  {needed(curves, score)}; {cpu / 60:.1f} CPU-minutes, {wall / 60:.1f} of the wall", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
