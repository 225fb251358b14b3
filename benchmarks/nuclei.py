"""What `espalier fit` learns from a microscope's picture in minutes, from all its labels and from a tenth of them.

    python benchmarks/nuclei.py [--minutes 10] [--labels 1.0 0.1] [--only NAME …] [--set FIELD=VALUE …] [--keep DIR]

The pictures are tiles with every nucleus marked by hand (`examples/nuclei_masks.py`): 24 to learn from, 8 to score on,
whose pixels no training tile shows. With a tenth of the labels only pixels under seeded strokes are known. `espalier`
is the whole of `espalier fit` as a user gets it, a fifth of the pictures held out included, on EfficientNet-Lite0 with
ImageNet weights that a Python package ships; `espalier mit_b0` is the same from random weights, as none of MiT
may be fetched here. `u-net` is segmentation_models_pytorch's, with the same encoder, start weights, batches, random
changes and loss, all 24 pictures and as much CPU time as `espalier` trained; it needs an environment with that package.
`threshold` is Otsu's, of the training pictures' values. Each trains in a process of its own, on one thread, and its
minutes are of its own CPU time, so that other work on the machine counts for nobody. Prints a table; which is best is
the finding, not a bar.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from detectors.crown_boxes import BACKBONE, WEIGHTS, command
from numpy.typing import NDArray
from segmenters.nuclei import made, parts

OURS, RANDOM, UNET, OTSU = "espalier", "espalier mit_b0", "u-net", "threshold"
FOLLOWS = {UNET: OURS}
"""Who trains as long as whom."""
Spent = dict[str, float]


def fitted(photos: Path, folder: Path, args: argparse.Namespace) -> Spent:
    """`espalier fit`, on a clock that shows this process's CPU time."""
    time.perf_counter = time.process_time  # before anything of the house reads it
    import espalier

    encoder = {"name": "mit_b0", "weights": "none"} if args.one == RANDOM else {"name": BACKBONE, "weights": BACKBONE}
    wishes = [f"network.backbone.{key}={value}" for key, value in encoder.items()]
    overrides = [f"fit.minutes={args.minutes}", "train.workers=0", f"fit.report={json.dumps(bool(args.keep))}"]
    done = espalier.fit(photos, out=folder / "run", overrides=[*overrides, *wishes, *args.set], progress=False)
    model = espalier.load(folder / "run" / "bundle")
    _keep([each.class_HW for each in model.predict([query.image_HWC for query in _queries(photos)])], folder)
    events = map(json.loads, (folder / "run" / "events.jsonl").read_text().splitlines())
    steps = [event["step"] for event in events if event["kind"] == "step"]
    return {"cpu_s": done["tried"][0]["seconds"], "steps": steps[-1]}


def unet(photos: Path, folder: Path, args: argparse.Namespace) -> Spent:
    """The peer, trained here."""
    import torch
    from detectors import cpu_time
    from detectors.recipes import resolved
    from segmenters import peers

    from espalier.actions.finetune import loader_of
    from espalier.layers.module_backend import ModuleBackend

    torch.manual_seed(0)
    train = parts(photos)["train"]
    network = {"name": "segformer", "preset": "nano", "backbone": {"name": BACKBONE, "weights": BACKBONE}}
    values = {"network": network, "data": {"train": str(photos)}, "train": {"workers": 0}, "seed": 0}
    recipe = resolved(values, train, task="segmentation", overrides=args.set)
    peer = peers.unet(recipe, recipe.build())
    learner = peers.optimiser(peer, lr=peers.LR, encoder="network.encoder.", ratio=0.1)
    with loader_of(recipe, train) as loader:
        spent = cpu_time.train(learner, loader, lambda batch: peer.losses(batch)["total"], cpu_s=args.seconds)
    predictor = recipe.predictor(ModuleBackend(peer))
    _keep([each.class_HW for each in predictor(_queries(photos))], folder)
    return asdict(spent)


def threshold(photos: Path, folder: Path, args: argparse.Namespace) -> Spent:
    """Otsu, 1979: the value that parts the training pixels into two classes that differ most."""
    from espalier.vision.image import read_image

    def values(part: str) -> list[NDArray[Any]]:
        return [read_image(path, channels="grey")[..., 0] for path in sorted((photos / part / "images").iterdir())]

    count_V = np.bincount(np.concatenate([one.ravel() for one in values("train")])).astype(float)
    value_V = np.arange(len(count_V))
    below, above = count_V.cumsum()[:-1], count_V[::-1].cumsum()[::-1][1:]
    sum_below, sum_above = (count_V * value_V).cumsum()[:-1], (count_V * value_V)[::-1].cumsum()[::-1][1:]
    apart = below * above * (sum_below / np.maximum(below, 1) - sum_above / np.maximum(above, 1)) ** 2
    _keep([(one > apart.argmax()).astype(np.uint8) for one in values("test")], folder)
    return {"cpu_s": 0.0, "steps": 0}


HERE: dict[str, Callable[[Path, Path, argparse.Namespace], Spent]] = {
    OURS: fitted, RANDOM: fitted, UNET: unet, OTSU: threshold,
}  # fmt: skip


def _queries(photos: Path) -> list[Any]:
    """The test pictures as they are asked, in the order of the index."""
    from espalier.data.samples import Samples
    from espalier.tasks import base as tasks

    return [sample.query for sample in Samples(parts(photos)["test"], tasks.get("segmentation"))]


def _keep(said: list[Any], folder: Path) -> None:
    np.savez(folder / "said.npz", *said)


def alone(name: str, photos: Path, folder: Path, args: argparse.Namespace, seconds: float) -> Spent:
    """A contestant in a process of its own: what it took."""
    words = [sys.executable, __file__, "--one", name, "--photos", str(photos), "--out", str(folder)]
    words += ["--minutes", str(args.minutes), "--seconds", str(seconds), "--set", *args.set]
    words += ["--keep", str(args.keep)] if args.keep else []
    done = subprocess.run(
        words, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{name}\n{done.stdout}{done.stderr}")
    spent: Spent = json.loads((folder / "spent.json").read_text())
    return spent


def one(args: argparse.Namespace) -> None:
    """Trains one contestant here, and writes what it says and what it took."""
    import torch

    torch.set_num_threads(1)
    spent = HERE[args.one](args.photos, args.out, args)
    (args.out / "spent.json").write_text(json.dumps(spent))


def line(name: str, labels: float, photos: Path, folder: Path, spent: Spent) -> str:
    """A contestant's row."""
    from segmenters.scoring import SHOWN, scored, shown

    from espalier.tasks.segmentation.prediction import SegmentMap

    with np.load(folder / "said.npz") as said:
        figures = scored([SegmentMap.of(said[key]) for key in said.files], parts(photos)["test"])
    cells = [name, f"{100 * labels:.0f} %", *(shown(figures[key]) for key in SHOWN)]
    return " | ".join([*cells, f"{spent['cpu_s']:.0f}", f"{spent['steps']:.0f}"])


def wanted(args: argparse.Namespace) -> list[str]:
    """The contestants of this run, those first whose time others take. Exits where one can't be run."""
    from segmenters.peers import INSTALL

    names = [name for name in HERE if not args.only or name in args.only]
    if UNET in names and find_spec("segmentation_models_pytorch") is None:
        if args.only:
            sys.exit(f"{UNET} needs segmentation_models_pytorch: {INSTALL}")
        print(f"{UNET} is left out: {INSTALL}")
        names.remove(UNET)
    return names


def main() -> int:
    """0 when every contestant ended well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of `fit`, by CPU time")
    parser.add_argument("--labels", type=float, nargs="*", default=[1.0, 0.1])
    parser.add_argument("--only", nargs="*", choices=list(HERE))
    parser.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE", help="of the spec, to try others")
    parser.add_argument("--keep", type=Path, help="keep what was trained, with reports, in this folder")
    for hidden in ("--one", "--photos", "--out", "--seconds"):
        kind = {"--one": str, "--seconds": float}.get(hidden, Path)
        parser.add_argument(hidden, help=argparse.SUPPRESS, type=kind)
    args = parser.parse_args()
    if args.one:
        one(args)
        return 0
    command("weights", "import", WEIGHTS, "--as", BACKBONE)
    with tempfile.TemporaryDirectory(prefix="nuclei-") as scratch:
        print("contestant | labels | IoU of nuclei | mIoU | boundary IoU | CPU seconds | steps", flush=True)
        folder, names = args.keep or Path(scratch), wanted(args)
        for labels in args.labels:
            photos, took = made(folder, labels=labels), {}
            for name in names:
                place = folder / f"{name.replace(' ', '-')}-{100 * labels:.0f}"
                place.mkdir(parents=True)
                seconds = took.get(FOLLOWS.get(name, ""), 60 * args.minutes)
                spent = alone(name, photos, place, args, seconds)
                took[name] = spent["cpu_s"]
                print(line(name, labels, photos, place, spent), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
