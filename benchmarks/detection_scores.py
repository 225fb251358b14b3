"""Scoring a detector on as many pictures as COCO's val2017 against pycocotools: time, with equal figures.

    python benchmarks/detection_scores.py [--pictures 5000] [--boxes 100] [--classes 80] [--repeats 3]

Objects and boxes are drawn (seeded). Both start from what a detector gives, in their own form: pycocotools from a list
of records for `loadRes`, Espalier from its predictions. The labels are read before. Fails when Espalier takes more than
0.4 of pycocotools' time or one of the twelve figures differs by more than 1e-6. Espalier's time holds everything that a
report shows, without intervals; those of 1,000 resamples of `--resampled` pictures are timed on their own.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import platform
import sys
import time
from typing import Any

import numpy as np

from espalier.tasks.base import Sample, Scores
from espalier.tasks.detection import TASK, Detections, DetectionTarget
from espalier.vision import boxes

KEYS = ("map", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100", "ar_small", "ar_medium",
        "ar_large")  # fmt: skip
LIMIT = 0.4


def draw(pictures: int, count: int, classes: int, seed: int = 0) -> tuple[list[Detections], list[DetectionTarget]]:
    """Some seven objects a picture; a third of the boxes lie near one, four fifths of these of its class."""
    rng = np.random.default_rng(seed)
    said, truths = [], []
    for _ in range(pictures):
        many = int(rng.poisson(7))
        size = np.exp(rng.uniform(np.log(8), np.log(300), (many, 2)))
        start = rng.uniform(0, 500, (many, 2))
        box = np.concatenate([start, start + size], axis=1).astype(np.float32)
        ids = rng.integers(0, classes, many)
        truths.append(DetectionTarget(box, ids, rng.random(many) < 0.02, boxes.area(box)))
        start = rng.uniform(0, 500, (count, 2))
        found = np.concatenate([start, start + rng.uniform(8, 200, (count, 2))], axis=1)
        named, near = rng.integers(0, classes, count), rng.random(count) < (0.33 if many else 0)
        about = rng.integers(0, max(many, 1), count)[near]
        if many:
            found[near] = box[about] + rng.normal(0, 0.1, (len(about), 4)) * np.tile(size[about], 2)
            named[near] = np.where(rng.random(len(about)) < 0.8, ids[about], named[near])
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        said.append(Detections(found, rng.random(count) * np.where(near, 1, 0.5), named))
    return said, truths


def espalier(said: list[Detections], truths: list[DetectionTarget], classes: int) -> tuple[float, Scores]:
    """(seconds, scores)."""
    samples = [Sample(None, truth, f"{i}") for i, truth in enumerate(truths)]
    start = time.perf_counter()
    metrics = TASK.metrics([f"class {c}" for c in range(classes)])
    metrics.update(said, samples)
    scores = metrics.compute()
    return time.perf_counter() - start, scores


def records(said: list[Detections], truths: list[DetectionTarget], classes: int) -> tuple[Any, list[dict[str, Any]]]:
    """(labels, detections) as pycocotools takes them."""
    from pycocotools.coco import COCO

    labels = COCO()
    labels.dataset = {
        "images": [{"id": i} for i in range(len(said))],
        "categories": [{"id": c + 1, "name": f"class {c}"} for c in range(classes)],
        "annotations": [
            {"id": 0, "image_id": i, "category_id": int(c) + 1, "bbox": box, "area": float(area), "iscrowd": int(crowd)}
            for i, one in enumerate(truths)
            for box, c, area, crowd in zip(_xywh(one.box_xyxy), one.class_id, one.area, one.is_crowd, strict=True)
        ],
    }
    for number, item in enumerate(labels.dataset["annotations"]):
        item["id"] = number + 1
    with contextlib.redirect_stdout(io.StringIO()):
        labels.createIndex()
    found = [
        {"image_id": i, "category_id": int(c) + 1, "bbox": box, "score": float(score)}
        for i, one in enumerate(said)
        for box, c, score in zip(_xywh(one.box_xyxy), one.class_id, one.score, strict=True)
    ]
    return labels, found


def _xywh(box_N4: Any) -> list[list[float]]:
    listed: list[list[float]] = boxes.xywh_from_xyxy(box_N4).tolist()
    return listed


def pycocotools(labels: Any, found: list[dict[str, Any]]) -> tuple[float, list[float]]:
    """(seconds, the twelve figures)."""
    from pycocotools.cocoeval import COCOeval

    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        run = COCOeval(labels, labels.loadRes([dict(item) for item in found]), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return time.perf_counter() - start, [float(v) for v in run.stats[:12]]


def main() -> int:
    """Exit code 0 when the limits are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--boxes", type=int, default=100)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--resampled", type=int, default=500)
    args = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"{time.strftime('%Y-%m-%d')}")  # fmt: skip
    said, truths = draw(args.pictures, args.boxes, args.classes)
    print(f"{args.pictures:,} pictures × {args.boxes} boxes of {args.classes} classes")
    labels, found = records(said, truths, args.classes)
    ours, theirs = [], []
    for _ in range(args.repeats):  # in turns
        seconds, scores = espalier(said, truths, args.classes)
        ours.append(seconds)
        seconds, figures = pycocotools(labels, found)
        theirs.append(seconds)
    apart = max(abs(scores.figures[key].value - figure) for key, figure in zip(KEYS, figures, strict=True))
    ratio = min(ours) / min(theirs)
    print(f"espalier {min(ours):.2f} s, pycocotools {min(theirs):.2f} s, ratio {ratio:.3f} (limit {LIMIT})")
    print(f"mAP {scores.value:.4f}; largest difference of twelve figures {apart:.1e}")
    metrics = TASK.metrics([f"class {c}" for c in range(args.classes)])
    part = [Sample(None, truth, f"{i}") for i, truth in enumerate(truths[: args.resampled])]
    metrics.update(said[: args.resampled], part)
    start = time.perf_counter()
    metrics.compute(bootstrap=1000)
    print(f"all figures with intervals, 1,000 resamples of {len(part)} pictures: {time.perf_counter() - start:.1f} s")
    return 0 if ratio <= LIMIT and apart <= 1e-6 else 1


if __name__ == "__main__":
    sys.exit(main())
