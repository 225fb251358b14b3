"""Indexing a COCO file of the size of train2017 against pycocotools: time and peak memory, each in its own process.

    python benchmarks/coco_index.py [--pictures 118287] [--boxes 860001] [--outlines] [--repeats 3]

The file is made by this script (seeded) in a temporary folder. Time is that of reading alone, imports excluded; memory
is the peak resident set of the process, and the same less what it held before reading (libraries loaded). Fails when
Espalier takes more than a third of pycocotools' time or more than half of its peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CHILD = """
import json, sys, time, threading

def status(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))

reader, path = sys.argv[1:]
if reader == "espalier":
    from espalier.data.formats import read_index
    read, size = read_index, lambda found: (len(found), len(found.class_id))
else:
    from pycocotools.coco import COCO
    read, size = COCO, lambda found: (len(found.imgs), len(found.anns))
before = status("VmRSS")
start = time.perf_counter()
found = read(path)
seconds = time.perf_counter() - start
found = {"seconds": seconds, "before_mb": before, "peak_mb": status("VmHWM"), "size": size(found)}
print(json.dumps(found), flush=True)
"""


def write_coco(path: Path, *, pictures: int, boxes: int, outlines: bool, seed: int = 0) -> None:
    """A file with the structure of instances_train2017.json; `outlines` adds a polygon of 20 points to each box."""
    rng = np.random.default_rng(seed)
    ids = rng.choice(600_000, pictures, replace=False)
    owner = rng.integers(0, pictures, boxes)
    corner = rng.uniform(0, 400, (boxes, 2)).round(2)
    extent = rng.uniform(2, 200, (boxes, 2)).round(2)
    category = rng.choice([n for n in range(1, 91) if n not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)], boxes)
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    with path.open("w") as out:
        out.write('{"info": {"description": "made by benchmarks/coco_index.py"}, "licenses": [], "images": [')
        out.write(", ".join(
            f'{{"license": 3, "file_name": "{i:012d}.jpg", "height": 480, "width": 640, "id": {i}}}' for i in ids
        ))  # fmt: skip
        out.write('], "annotations": [')
        for m in range(boxes):
            (x, y), (w, h) = corner[m], extent[m]
            outline = "[]"
            if outlines:
                points = np.stack([x + w / 2 * (1 + np.cos(turn)), y + h / 2 * (1 + np.sin(turn))], 1).round(2)
                outline = f"[{points.ravel().tolist()}]"
            out.write(
                f'{", " if m else ""}{{"segmentation": {outline}, "area": {w * h:.4f}, "iscrowd": 0, '
                f'"image_id": {ids[owner[m]]}, "bbox": [{x}, {y}, {w}, {h}], '
                f'"category_id": {category[m]}, "id": {m + 1}}}'
            )
        names = ", ".join(f'{{"supercategory": "thing", "id": {c}, "name": "class {c}"}}' for c in np.unique(category))
        out.write(f'], "categories": [{names}]}}')


def measure(reader: str, path: Path) -> dict[str, float]:
    """One reading in a fresh process."""
    command = [sys.executable, "-c", CHILD, reader, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def compare(path: Path, repeats: int) -> bool:
    """Prints both readers' best times and peaks, and whether the ratios are within the limits."""
    runs: dict[str, list[dict[str, float]]] = {"espalier": [], "pycocotools": []}
    for _ in range(repeats):
        for reader, found in runs.items():
            found.append(measure(reader, path))
    best = {reader: min(found, key=lambda run: run["seconds"]) for reader, found in runs.items()}
    assert best["espalier"]["size"] == best["pycocotools"]["size"], best
    for reader, run in best.items():
        libraries = f"of which libraries {run['before_mb']:5.0f} MB"
        print(f"{reader:12s} {run['seconds']:7.2f} s   peak {run['peak_mb']:7.0f} MB   {libraries}")
    time_ratio = best["espalier"]["seconds"] / best["pycocotools"]["seconds"]
    memory_ratio = best["espalier"]["peak_mb"] / best["pycocotools"]["peak_mb"]
    print(f"{'ratio':12s} {time_ratio:7.3f}     peak {memory_ratio:7.3f}      limits 0.333 and 0.500")
    return time_ratio <= 1 / 3 and memory_ratio <= 1 / 2


def main() -> int:
    """Exit code 0 when the limits are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=118_287)
    parser.add_argument("--boxes", type=int, default=860_001)
    parser.add_argument("--outlines", action="store_true", help="a polygon for each box, as train2017 has")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"{time.strftime('%Y-%m-%d')}")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "instances_train2017.json"
        write_coco(path, pictures=args.pictures, boxes=args.boxes, outlines=args.outlines)
        size = f"{path.stat().st_size / 1e6:.0f} MB, {'with' if args.outlines else 'without'} outlines"
        print(f"{args.pictures:,} pictures, {args.boxes:,} boxes, {size}")
        return 0 if compare(path, args.repeats) else 1


if __name__ == "__main__":
    sys.exit(main())
