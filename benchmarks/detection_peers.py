"""Detectors at equal CPU time on a few real photographs, scored by one script: ours against what else people use.

    python benchmarks/detection_peers.py [--minutes 20] [--seeds 3] [--only NAME …] [--ultralytics PYTHON]

The photographs are 20 tiles with tree crowns to learn from and 8 to score on (`examples/crown_boxes.py`), whose pixels
no training tile shows. Each contestant trains in a process of its own for that many minutes of its own CPU time, on one
thread. `espalier` is the whole of `espalier fit` as a user gets it, 20 % of the pictures held out included; its time
counts as training alone. `espalier dino` is the same with DINO's preset nano, which it is not by default. torchvision's
RetinaNet and Faster R-CNN and transformers' RT-DETR have the same encoder with the same start weights, the same input,
batches and random changes, and learn from all 20. RT-DETR needs an environment with transformers. ultralytics' nano
starts from random weights with its own settings, by its own command line in an environment of its own (`--ultralytics`
names its python; AGPL-3.0: nothing here imports it), and its time is the wall's. Prints a table; which detector is best
is the finding, not a bar.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import mean
from typing import Any

import yaml
from detectors.crown_boxes import BACKBONE, fetched, parts

OURS, OURS_DINO = "espalier", "espalier dino"
ULTRALYTICS = "ultralytics nano"
TRAINING_SHARE = 0.9  # of what `fit` has left after the check of the data; the rest is for scoring
CHECK_S, RESERVE_S, RESERVE_SHARE = 8.0, 90.0, 0.25  # `fit` keeps less of the two for export, proof and report


def ours(photos: Path, folder: Path, *, cpu_s: float, seed: int, network: str = "") -> dict[str, float]:
    """`espalier fit`, on a clock that shows this process's CPU time; by a network's preset nano, else by its choice."""
    time.perf_counter = time.process_time  # before anything of the house reads it
    from detectors.scoring import keep

    import espalier
    from espalier.data.samples import Samples
    from espalier.tasks import base as tasks

    minutes = fit_minutes(cpu_s)
    overrides = [f"seed={seed}", f"fit.minutes={minutes}", "train.workers=0", "fit.report=false"]
    if network:
        overrides += [f"network.name={network}", "network.preset=nano"]
    espalier.fit(photos, out=folder / "run", overrides=overrides, progress=False)
    test = parts(photos)["test"]
    model = espalier.load(folder / "run" / "bundle")
    samples = Samples(test, tasks.get("detection"))
    keep([model.predict([sample.query.image_HWC])[0] for sample in samples], test, folder / "boxes.json")
    return _trained(folder / "run" / "events.jsonl")


def fit_minutes(cpu_s: float) -> float:
    """The minutes of which `fit` trains for so long."""
    before = cpu_s / TRAINING_SHARE + CHECK_S
    return min(before + RESERVE_S, before / (1 - RESERVE_SHARE)) / 60


def _trained(events: Path) -> dict[str, float]:
    """What the run's last step says."""
    steps = [event for event in map(json.loads, events.read_text().splitlines()) if event["kind"] == "step"]
    batch = yaml.safe_load((events.parent / "spec.yaml").read_text())["train"]["batch_size"]
    last, pictures = steps[-1], steps[-1]["step"] * batch
    return {"cpu_s": pictures / max(last["images_per_s"], 1e-9), "steps": last["step"], "pictures": pictures}


def peer(name: str) -> Callable[..., dict[str, float]]:
    """A contestant that is trained here."""

    def run(photos: Path, folder: Path, *, cpu_s: float, seed: int) -> dict[str, float]:
        import torch
        from detectors import cpu_time, peers, scoring
        from detectors.recipes import resolved

        from espalier.actions.finetune import loader_of
        from espalier.networks.detector import Detector

        torch.manual_seed(seed)
        found = parts(photos)
        values = {
            "network": {"name": "fcos", "preset": "nano", "backbone": {"name": BACKBONE, "weights": BACKBONE}},
            "data": {"train": str(photos)},
            "train": {"workers": 0},
            "seed": seed,
        }
        recipe = resolved(values, found["train"])
        model = recipe.build()
        assert isinstance(model, Detector)
        maps = peers.Maps(model)
        make = {"retinanet": peers.retinanet, "faster-rcnn": peers.faster_rcnn, "rt-detr": peers.RtDetr}[name]
        contestant = make(maps, len(recipe.classes))
        with loader_of(recipe, found["train"]) as loader:
            spent = cpu_time.train(contestant.optimiser(), loader, contestant.loss, cpu_s=cpu_s)
        said = list(scoring.asked(contestant, recipe, found["test"]))
        scoring.keep(said, found["test"], folder / "boxes.json")
        return asdict(spent)

    return run


HERE = {
    OURS: ours,
    OURS_DINO: partial(ours, network="dino"),
    **{name: peer(name) for name in ("retinanet", "faster-rcnn", "rt-detr")},
}


def alone(name: str, photos: Path, folder: Path, args: argparse.Namespace, seed: int) -> dict[str, float]:
    """A contestant in a process of its own: what it took."""
    words = [sys.executable, __file__, "--one", name, "--photos", str(photos), "--out", str(folder)]
    words += ["--minutes", str(args.minutes), "--seed", str(seed)]
    done = subprocess.run(
        words, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{name}\n{done.stdout}{done.stderr}")
    spent: dict[str, float] = json.loads((folder / "spent.json").read_text())
    return spent


def one(args: argparse.Namespace) -> None:
    """Trains one contestant here, and writes its boxes and what it took."""
    import torch

    torch.set_num_threads(1)
    spent = HERE[args.one](args.photos, args.out, cpu_s=60 * args.minutes, seed=args.seed)
    (args.out / "spent.json").write_text(json.dumps(spent))


def lines(name: str, rounds: Sequence[tuple[dict[str, Any], dict[str, float]]]) -> list[str]:
    """A contestant's row for each seed, and their mean where there are several."""
    from detectors.scoring import SHOWN, shown

    rows = []
    for seed, (figures, spent) in enumerate(rounds):
        pace = f"{spent['pictures'] / spent['cpu_s']:.2f}"
        cells = [name, str(seed), *(shown(figures[key]) for key in SHOWN), pace, str(int(spent["steps"]))]
        rows.append(" | ".join(cells))
    if len(rounds) > 1:
        means = [f"{100 * mean(figures[key].value for figures, _ in rounds):.1f}" for key in SHOWN]
        rows.append(" | ".join([name, "mean", *means, "", ""]))
    return rows


def wanted(args: argparse.Namespace) -> list[str]:
    """The contestants of this run. Exits where one is asked for that can't be run."""
    names = args.only or [*HERE, *([ULTRALYTICS] if args.ultralytics else [])]
    if "rt-detr" in names and find_spec("transformers") is None:
        if args.only:
            sys.exit("rt-detr needs transformers: pip install transformers==5.24.0 in a copy of the environment")
        print("rt-detr is left out: transformers is not installed here")
        names = [name for name in names if name != "rt-detr"]
    if ULTRALYTICS in names and not args.ultralytics:
        sys.exit(f"{ULTRALYTICS} needs --ultralytics PYTHON, the python of an environment that has it")
    return names


def main() -> int:
    """0 when every contestant ended well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0, help="of CPU time, each")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=[*HERE, ULTRALYTICS])
    parser.add_argument("--ultralytics", type=Path, metavar="PYTHON")
    parser.add_argument("--keep", type=Path, help="keep what was trained in this folder")
    for hidden in ("--one", "--photos", "--out", "--seed"):
        parser.add_argument(hidden, help=argparse.SUPPRESS, type={"--one": str, "--seed": int}.get(hidden, Path))
    args = parser.parse_args()
    if args.one:
        one(args)
        return 0
    from detectors import ultralytics_command
    from detectors.scoring import kept, scored

    with tempfile.TemporaryDirectory(prefix="peers-") as scratch:
        folder = args.keep or Path(scratch)
        photos = fetched(folder)
        test = parts(photos)["test"]
        print("contestant | seed | AP | AP50 | pictures/s (CPU) | steps", flush=True)
        for name in wanted(args):
            rounds = []
            for seed in range(args.seeds):
                place = folder / f"{name.replace(' ', '-')}-{seed}"
                place.mkdir(parents=True)
                if name == ULTRALYTICS:
                    spent = ultralytics_command.train(args.ultralytics, parts(photos), place, args.minutes, seed)
                else:
                    spent = alone(name, photos, place, args, seed)
                rounds.append((scored(kept(test, place / "boxes.json"), test), spent))
            print("\n".join(lines(name, rounds)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
