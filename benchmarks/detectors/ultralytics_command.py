"""ultralytics' nano by its own command line, in an environment of its own. AGPL-3.0: nothing of it is imported."""

from __future__ import annotations

import csv
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from detectors.scoring import keep
from espalier.data.index import Index
from espalier.tasks.detection.prediction import Detections
from espalier.vision.image import read_image

MODEL = "yolo11n.yaml"  # the shape alone: its published weights are AGPL-3.0 too, and can't be fetched here
SIDE = 320


def train(python: Path, found: Mapping[str, Index], folder: Path, minutes: float, seed: int) -> dict[str, float]:
    """Trains on 'train', writes the boxes of 'test', and says what it took. Exits with its words when it fails."""
    data = _written(found, folder / "yolo")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    settings = [f"model={MODEL}", f"data={data}", f"imgsz={SIDE}", "device=cpu", "workers=0", f"seed={seed}"]
    settings += [f"time={minutes / 60}", "batch=4", "val=False", "plots=False", f"project={folder}", "name=run"]
    _yolo(python, "train", *settings, "pretrained=False", "amp=False")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    best = folder / "run" / "weights" / "last.pt"
    asked = [f"model={best}", f"source={folder / 'yolo' / 'test' / 'images'}", "conf=0.01", "max_det=100"]
    _yolo(
        python,
        "predict",
        *asked,
        f"imgsz={SIDE}",
        "save_txt=True",
        "save_conf=True",
        "save=False",
        f"project={folder}",
        "name=said",
    )
    test = found["test"]
    keep([_said(test, row, folder / "said" / "labels") for row in range(len(test))], test, folder / "boxes.json")
    with (folder / "run" / "results.csv").open() as lines:
        epochs = len(list(csv.DictReader(lines)))
    pictures = len(found["train"])
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_s": cpu_s, "steps": epochs * -(-pictures // 4), "pictures": epochs * pictures}


def _yolo(python: Path, *arguments: str) -> None:
    command = [str(python.absolute().parent / "yolo"), "detect", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "YOLO_OFFLINE": "true"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def _written(found: Mapping[str, Index], folder: Path) -> Path:
    """The pictures and labels in its own layout."""
    for part, index in found.items():
        for kind in ("images", "labels"):
            (folder / part / kind).mkdir(parents=True)
        for row in range(len(index)):
            source = Path(index.path(row))
            shutil.copy(source, folder / part / "images" / source.name)
            height, width = read_image(str(source)).shape[:2]
            (folder / part / "labels" / f"{source.stem}.txt").write_text(_lines(index, row, width, height))
    file = folder / "data.yaml"
    names = dict(enumerate(found["train"].classes))
    file.write_text(
        json.dumps({"path": str(folder.absolute()), "train": "train/images", "val": "train/images", "names": names})
    )
    return file


def _lines(index: Index, row: int, width: int, height: int) -> str:
    annotations = index.annotations(row)
    lines = []
    for (x1, y1, x2, y2), class_id, crowd in zip(
        annotations.box_xyxy, annotations.class_id, annotations.is_crowd, strict=True
    ):
        if not crowd:
            centre = f"{(x1 + x2) / 2 / width:.6f} {(y1 + y2) / 2 / height:.6f}"
            lines.append(f"{class_id} {centre} {(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f}\n")
    return "".join(lines)


def _said(index: Index, row: int, folder: Path) -> Detections:
    source = Path(index.path(row))
    file = folder / f"{source.stem}.txt"
    if not file.exists():
        return Detections.none()
    height, width = read_image(str(source)).shape[:2]
    rows = np.array([line.split() for line in file.read_text().splitlines()], float)
    rows = rows[np.argsort(-rows[:, 5], kind="stable")]
    centre, size = rows[:, 1:3], rows[:, 3:5]
    box = np.concatenate([centre - size / 2, centre + size / 2], 1) * (width, height, width, height)
    return Detections(box, rows[:, 5], rows[:, 0].astype(int))
