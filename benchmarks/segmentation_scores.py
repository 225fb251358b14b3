"""Scoring a segmenter on as many masks as Cityscapes' validation set against torchmetrics: time, with equal figures.

    pip install torchmetrics==1.9.0
    python benchmarks/segmentation_scores.py [--pictures 500] [--height 1024] [--width 2048] [--classes 19]

Masks are drawn (seeded): patches of a class, answers that are wrong at edges and here and there, 2 % of pixels ignored.
torchmetrics' MeanIoU leaves no pixel out and averages pictures, so that its figure is another. Its JaccardIndex gives
the same figure by the confusion matrix alone, and is quicker by far. Both are given tensors that are ready; Espalier
its own packed predictions, which it has to unpack, and besides mIoU it counts all that its report shows: the confusion
matrix of each picture, and the rims. Times are the processor's, picture by picture in turns, on one thread. Fails when
Espalier takes more than a fifth of the time of either, or when mIoU differs from JaccardIndex's by more than 1e-6.
Espalier's kept counts are told in bytes.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.segmentation import TASK, SegmentMap

LIMIT = 0.2
IGNORED = 255
PATCH = 32  # px, the side of the smallest patch


def draw(
    pictures: int, size_hw: tuple[int, int], classes: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """(answer, truth) of each picture."""
    import cv2

    height, width = size_hw
    for number in range(pictures):
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, classes, (-(-height // PATCH), -(-width // PATCH)), dtype=np.uint8)
        smooth = cv2.medianBlur(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST), 31)
        said = np.roll(smooth, rng.integers(-6, 7, 2), axis=(0, 1))
        for _ in range(20):
            top, left = rng.integers(0, height - 20), rng.integers(0, width - 20)
            said[top : top + 80, left : left + 80] = rng.integers(0, classes)
        truth = smooth.copy()
        truth[: max(1, height // 50)] = IGNORED
        yield said, truth


class Torchmetrics:
    """Its two ways to mIoU."""

    def __init__(self, classes: int) -> None:
        from torchmetrics.classification import MulticlassJaccardIndex
        from torchmetrics.segmentation import MeanIoU

        self.jaccard = MulticlassJaccardIndex(classes, ignore_index=IGNORED, validate_args=False)
        self.miou = MeanIoU(classes, input_format="index", per_class=True)
        self.seconds = {"JaccardIndex": 0.0, "MeanIoU": 0.0}

    def add(self, said_HW: NDArray[Any], truth_HW: NDArray[Any]) -> None:
        """One picture; MeanIoU, which leaves nothing out, is given the first class where the truth is ignored."""
        import torch

        said, truth = (torch.from_numpy(each.astype(np.int64))[None] for each in (said_HW, truth_HW))
        whole = torch.where(truth == IGNORED, 0, truth)
        start = time.process_time()
        self.jaccard.update(said, truth)
        between = time.process_time()
        self.miou.update(said, whole)
        self.seconds["JaccardIndex"] += between - start
        self.seconds["MeanIoU"] += time.process_time() - between

    @property
    def value(self) -> float:
        """mIoU over all pictures."""
        return float(self.jaccard.compute())


class Espalier:
    """From packed predictions to counts."""

    def __init__(self, classes: int) -> None:
        self.metrics = TASK.metrics([f"class {c}" for c in range(classes)])
        self.seconds = 0.0

    def add(self, said_HW: NDArray[Any], truth_HW: NDArray[Any], name: str) -> None:
        """One picture."""
        prediction = SegmentMap.of(said_HW)
        start = time.process_time()
        self.metrics.add(prediction.class_HW, truth_HW, name, "")
        self.seconds += time.process_time() - start


def main() -> int:
    """Exit code 0 when the limits are kept."""
    import cv2
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=19)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(f"{platform.processor() or platform.machine()}, one thread, Python {platform.python_version()}, "
          f"{time.strftime('%Y-%m-%d')}")  # fmt: skip
    ours, theirs = Espalier(args.classes), Torchmetrics(args.classes)
    for number, (said, truth) in enumerate(draw(args.pictures, (args.height, args.width), args.classes)):
        ours.add(said, truth, f"{number}")
        theirs.add(said, truth)
    start = time.process_time()
    scores = ours.metrics.compute(bootstrap=1000)
    resampling = time.process_time() - start
    apart, quicker = abs(scores.value - theirs.value), min(theirs.seconds.values())
    faster = {name: seconds / ours.seconds for name, seconds in theirs.seconds.items()}
    table = scores.per_item["kept"].counts
    kept_mb = (table.data.nbytes + table.indices.nbytes + table.indptr.nbytes) / 1e6
    print(f"{args.pictures} masks of {args.height} × {args.width} px, {args.classes} classes")
    print(f"espalier {ours.seconds:.2f} s with boundary IoU and counts by picture (limit {LIMIT * quicker:.2f} s)")
    print(", ".join(f"torchmetrics {name} {s:.2f} s, {faster[name]:.1f} times" for name, s in theirs.seconds.items()))
    print(f"mIoU {scores.value:.6f}, {theirs.value:.6f}: apart by {apart:.1e}")
    print(f"kept of all pictures: {kept_mb:.2f} MB; all figures with intervals, 1,000 resamples: {resampling:.2f} s")
    return 0 if ours.seconds <= LIMIT * quicker and apart <= 1e-6 else 1


if __name__ == "__main__":
    sys.exit(main())
