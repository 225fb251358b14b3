"""What of a detector's recipe for few pictures brings its score: variants at equal CPU time, on an inner split.

    python benchmarks/detection_recipe.py [--network dino] [--seconds 150] [--only NAME …] [--set FIELD=VALUE …]

The training tiles with tree crowns (`examples/crown_boxes.py`), 15 to learn from and 5 to score on: the test tiles stay
unseen. A variant is the network's preset nano with other values; each trains for that many CPU-seconds by the engine
of `train`, with a short warm-up and a cosine over that time, and its averaged weights are scored. `--set` adds a
variant of its own to try. One seed and five pictures: differences of a few points say nothing. What is best is the
finding, no bar.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from detectors import cpu_time, recipes, scoring
from detectors.crown_boxes import BACKBONE, fetched, parts

from espalier.actions import finetune
from espalier.data.index import Index
from espalier.layers.model import Batch
from espalier.trainer.engine import Engine

BEFORE = {
    "train.lr": 1e-4, "train.batch_size": 4, "network.encoder_layers": 2, "network.input.size_hw": [320, 320],
    "network.loss": {"score": "presence", "dense_weight": 0.0}, "train.augment.jitter": [0.6, 1.5],
    "network.query_content": "learnt",
}  # fmt: skip
RATE = {**BEFORE, "train.lr": 4e-4}
DENSE = {**RATE, "network.loss": {"score": "presence", "dense_weight": 1.0}}
FIT = {**DENSE, "network.loss": {"score": "fit", "dense_weight": 1.0}}
PAIRS = {**FIT, "train.batch_size": 2}
SMALL = {**PAIRS, "network.encoder_layers": 1, "network.input.size_hw": [256, 256]}
PRESET = "the preset"
VARIANTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "dino": {
        "as it was": BEFORE,
        "rate 4e-4": RATE,
        "rate 1e-3": {**BEFORE, "train.lr": 1e-3},
        "+ tokens taught densely": DENSE,
        "+ scores that say how well a box fits": FIT,
        "+ 2 pictures a step": PAIRS,
        "+ one encoder layer, 256 px": SMALL,
        "+ no jitter": {**SMALL, "train.augment.jitter": [1.0, 1.0]},
        PRESET: {},
    },
    "fcos": {
        PRESET: {},
        "rate 1e-3": {"train.lr": 1e-3},
        "rate 2e-4": {"train.lr": 2e-4},
        "encoder at a tenth of the rate": {"train.backbone_lr_ratio": 0.1},
        "6 cells an object": {"network.loss": {"answers": 6}},
        "16 cells an object": {"network.loss": {"answers": 16}},
        "4 + 4 convolutions": {"network.head_layers": 4},
        "other jitter": {"train.augment.jitter": [0.6, 1.5]},
    },
}


def nested(network: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields by their paths as a spec's sections, with the encoder that all variants start from."""
    made: dict[str, Any] = {
        "network": {"name": network, "preset": "nano", "backbone": {"name": BACKBONE, "weights": BACKBONE}}
    }
    for path, value in values.items():
        *sections, field = path.split(".")
        place = made
        for section in sections:
            place = place.setdefault(section, {})
        place[field] = value
    return made


def halves(index: Index) -> tuple[Index, Index]:
    """Three quarters to learn from and every fourth tile to score on."""
    held_out = np.arange(len(index)) % 4 == 1
    return index.subset(np.flatnonzero(~held_out)), index.subset(np.flatnonzero(held_out))


def run(network: str, name: str, values: Mapping[str, Any], index: Index, cpu_s: float) -> None:
    """Trains a variant and prints its row."""
    train, val = halves(index)
    recipe = recipes.resolved(nested(network, values), train, n_val=len(val)).with_train(workers=0)
    engine = Engine(recipe.build(), recipe.spec.train, 0)
    engine.set_up()
    loader = finetune.loader_of(recipe, train)
    begin, step, epoch, rate = time.process_time(), 0, 0, recipe.spec.train.lr
    engine.training_mode()
    assert isinstance(rate, float)
    while (share := (time.process_time() - begin) / cpu_s) < 1:
        for loaded in loader.epoch(epoch):
            share = (time.process_time() - begin) / cpu_s
            if share >= 1:
                break
            batch = Batch(loaded.inputs, loaded.targets, loaded.names)
            engine.step([batch], step, rate * cpu_time.rate_factor(share, step))
            step += 1
        epoch += 1
    said = finetune.predictions(recipe, engine.evaluated().eval(), val)
    engine.close()
    figures = scoring.scored(said, val, bootstrap=0)
    print(f"{name:40s} {figures['map'].value:6.1%} {figures['ap50'].value:6.1%} {step:6d}", flush=True)


def main() -> int:
    """0 when all ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=150.0, help="of CPU time, each")
    parser.add_argument("--network", choices=list(VARIANTS), default="fcos")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="of the network's variants; all unless given")
    parser.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE", help="one more variant of the preset")
    args = parser.parse_args()
    torch.set_num_threads(1)
    own = {path: yaml.safe_load(value) for path, _, value in (word.partition("=") for word in args.set)}
    known = VARIANTS[args.network]
    if unknown := set(args.only or ()) - set(known):
        parser.error(f"{args.network} has no variant {sorted(unknown)}; its variants: {', '.join(known)}")
    variants = {name: known[name] for name in (known if args.only is None else args.only)} | (
        {" ".join(args.set): own} if own else {}
    )
    cores, today = os.cpu_count(), datetime.date.today()
    print(f"{platform.machine()}, {cores} cores, one thread, {args.seconds:g} CPU-seconds each, {today}")
    print(f"{'variant':40s} {'AP':>6s} {'AP50':>6s} {'steps':>6s}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        index = parts(fetched(Path(folder)))["train"]
        for name, values in variants.items():
            run(args.network, name, values, index, args.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
