"""One scoring for all detectors: the house's figures, equal to faster-coco-eval's, with intervals over pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from detectors.peers import Found, Peer
from espalier.actions.recipe import Recipe
from espalier.blocks import Figure
from espalier.data.index import Index
from espalier.data.samples import Samples
from espalier.tasks import base as tasks
from espalier.tasks.detection.prediction import Detections
from espalier.vision import boxes
from espalier.vision.geometry import Geometry

SHOWN = ("map", "ap50")


def asked(peer: Peer, recipe: Recipe, index: Index) -> Iterator[Detections]:
    """A peer's boxes of each picture, in the picture's own pixels; pictures are prepared as for the house's network."""
    for sample in recipe.samples(index):
        image_in, geometry = recipe.prepare.place(sample.query.image_HWC)
        pixels = torch.from_numpy(recipe.prepare.pixels(image_in))
        yield in_source(peer.found(pixels[None])[0], geometry)


def in_source(found: Found, geometry: Geometry) -> Detections:
    """Boxes of the input as boxes of the picture, best first."""
    box, score, class_id = (value.numpy() for value in found)
    order = np.argsort(-score, kind="stable")
    box_src = boxes.clip(geometry.boxes_to_source(box[order]), geometry.source_hw)
    box_src[:, 2:] = np.maximum(box_src[:, 2:], box_src[:, :2])  # a detector may give a negative width
    return Detections(box_src, score[order], class_id[order])


def keep(said: Sequence[Detections], index: Index, path: Path) -> None:
    """Writes the boxes of each picture by its name."""
    rows = {
        index.name(row): {"box": each.box_xyxy.tolist(), "score": each.score.tolist(), "class": each.class_id.tolist()}
        for row, each in enumerate(said)
    }
    path.write_text(json.dumps(rows), encoding="utf-8")


def kept(index: Index, path: Path) -> list[Detections]:
    """The boxes that `keep` wrote, in the order of the index."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    found = (rows[index.name(row)] for row in range(len(index)))
    return [
        Detections(np.asarray(r["box"]).reshape(-1, 4), np.asarray(r["score"]), np.asarray(r["class"])) for r in found
    ]


def scored(said: Sequence[Detections], index: Index, *, bootstrap: int = 1000) -> dict[str, Figure]:
    """By key: `map`, `map_50` and the task's other figures."""
    task = tasks.get("detection")
    metrics = task.metrics(index.classes)
    metrics.update(said, list(Samples(index, task)))
    return dict(metrics.compute(bootstrap=bootstrap, seed=0).figures)


def shown(figure: Figure) -> str:
    """A share in per cent and its interval."""
    if figure.low is None or figure.high is None:
        return share(figure.value)
    return f"{share(figure.value)} ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


def share(value: float) -> str:
    """In per cent."""
    return f"{100 * value:.1f} %"
