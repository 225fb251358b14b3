"""SegFormer on MiT-B0 and on FAN against a convolutional segmenter: what each scores clean, and under corruption.

    pip install --no-deps segmentation-models-pytorch==0.6.0     # in a copy of the environment
    python benchmarks/robust_segmenters.py [--minutes 6] [--only NAME …] [--seeds 1]

The pictures are tiles with every nucleus marked by hand (`examples/nuclei_masks.py`): 24 to learn from, 8 to score on,
whose pixels no training tile shows. The convolutional one is segmentation_models_pytorch's DeepLabV3+ on ResNet-18. All
begin with random weights (none of MiT or FAN may be fetched here), have the same batches, random changes, loss and
rates, and train in a process of their own for that many minutes of its CPU time, on one thread. Scores are by the
code of `evaluate --corruptions`: the 15 common corruptions of ImageNet-C at five severities, of the network's input,
which has 64 px where those were chosen at 224 px; with intervals over pictures. Prints a table; which is more robust is
the finding, not a bar.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segmenters.nuclei import made, parts

if TYPE_CHECKING:
    from espalier.actions.recipe import Recipe
    from espalier.actions.robustness import Robustness
    from espalier.layers.model import TrainableModel
    from espalier.runtime.predictor import Predictor

CONVOLUTIONS = "deeplabv3+ resnet18"
ENCODERS = {
    "segformer mit_b0": "mit_b0",
    "segformer fan_tiny_8_p4_hybrid": "fan_tiny_8_p4_hybrid",
    CONVOLUTIONS: "mit_b0",  # of the recipe that it takes its pictures, changes and loss from
}
LR = 1e-3


@dataclass(frozen=True)
class Subject:
    """What the suite asks of a model, for one that is in memory."""

    recipe: Recipe
    model: TrainableModel
    kind = "checkpoint"
    tiling = None

    @property
    def prepare(self) -> Any:
        """The recipe's."""
        return self.recipe.prepare

    def predictor(self, *, batch_size: int = 8) -> Predictor:
        """prepare → module → decode."""
        from espalier.layers.module_backend import ModuleBackend

        return self.recipe.predictor(ModuleBackend(self.model), batch_size=batch_size)


def trained(name: str, photos: Path, *, cpu_s: float, seed: int) -> tuple[Subject, Mapping[str, Any]]:
    """The contestant, and what it took."""
    import torch
    from detectors import cpu_time
    from detectors.recipes import resolved
    from segmenters import peers

    from espalier.actions.finetune import loader_of

    torch.manual_seed(seed)
    train = parts(photos)["train"]
    network = {"name": "segformer", "preset": "nano", "backbone": {"name": ENCODERS[name], "weights": "none"}}
    values = {"network": network, "data": {"train": str(photos)}, "train": {"workers": 0}, "seed": seed}
    recipe = resolved(values, train, task="segmentation")
    model = peers.deeplab("resnet18", recipe) if name == CONVOLUTIONS else recipe.build()
    learner = peers.optimiser(model, lr=LR, encoder="", ratio=1.0)
    with loader_of(recipe, train) as loader:
        spent = cpu_time.train(learner, loader, lambda batch: model.losses(batch)["total"], cpu_s=cpu_s)
    params = sum(parameter.numel() for parameter in model.parameters())
    return Subject(recipe, model), {**asdict(spent), "params": params}


def measured(subject: Subject, photos: Path, *, seed: int) -> Robustness:
    """Clean and under the common corruptions."""
    from espalier.actions.robustness import measure, suite
    from espalier.actions.scoring import score
    from espalier.runs.run import Run
    from espalier.spec.verbs import CorruptionsSpec

    asked = CorruptionsSpec(enabled=True, which=("common",), workers=0)
    samples = subject.recipe.samples(parts(photos)["test"])
    clean = score(subject.predictor(), samples, bootstrap=1000, seed=seed).scores
    model: Any = subject
    run = Run.nowhere("evaluate")
    return measure(model, clean, samples, suite(asked), asked, run, batch_size=8, bootstrap=1000, seed=seed)


def one(args: argparse.Namespace) -> None:
    """Trains and measures one contestant here, and writes its row."""
    import torch
    from segmenters.scoring import shown

    from espalier.vision.corruptions import GROUPS

    torch.set_num_threads(1)
    subject, took = trained(args.one, args.photos, cpu_s=60 * args.minutes, seed=args.seed)
    found = measured(subject, args.photos, seed=args.seed)
    retention = found.retention()
    assert retention is not None
    cells = [f"{args.one} ({took['params'] / 1e6:.1f} M)", *map(shown, (found.figure, found.mean(), retention))]
    for group in ("noise", "blur", "weather", "digital"):
        left = found.retention(GROUPS[group])
        cells.append("" if left is None else f"{100 * left.value:.0f} %")
    args.out.write_text(json.dumps([*cells, f"{took['cpu_s']:.0f}", str(took["steps"])]))


def alone(name: str, photos: Path, out: Path, args: argparse.Namespace, seed: int) -> Sequence[str]:
    """The row of a contestant that is trained in a process of its own."""
    words = [sys.executable, __file__, "--one", name, "--photos", str(photos), "--out", str(out)]
    words += ["--minutes", str(args.minutes), "--seed", str(seed)]
    done = subprocess.run(
        words, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{name}\n{done.stdout}{done.stderr}")
    row: list[str] = json.loads(out.read_text())
    return row


def main() -> int:
    """0 when every contestant ended well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6.0, help="of CPU time, each")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=list(ENCODERS), default=list(ENCODERS))
    for hidden in ("--one", "--photos", "--out", "--seed"):
        parser.add_argument(hidden, help=argparse.SUPPRESS, type={"--one": str, "--seed": int}.get(hidden, Path))
    args = parser.parse_args()
    if args.one:
        one(args)
        return 0
    with tempfile.TemporaryDirectory(prefix="robust-") as scratch:
        photos = made(Path(scratch))
        print("segmenter | mIoU clean | corrupted | retention | noise | blur | weather | digital | CPU s | steps")
        for seed in range(args.seeds):
            for name in args.only:
                print(" | ".join(alone(name, photos, Path(scratch) / "row.json", args, seed)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
