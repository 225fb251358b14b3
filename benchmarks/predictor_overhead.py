"""What the predictor costs over the bare graph: prepare and decode of 640×480 JPEGs, resnet18 at 224 px, batch 8.

    python benchmarks/predictor_overhead.py [ROUNDS]

Bare: ONNX Runtime on ready arrays, plus Pillow's own decode and resize of the same files, one after the other. Ours:
the whole predictor (EXIF, channels, resize, crop, normalise, stack, run, softmax) on the same files. Both take turns,
round by round, and medians are compared, so that other work on the machine hits both. The claim: at most 15 % more.
"""

from __future__ import annotations

import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from espalier.exporter.golden import draw_picture
from espalier.exporter.onnx import onnx_bytes
from espalier.runtime.backends.onnxruntime import OnnxRuntimeBackend
from espalier.runtime.predictor import Predictor, prepared_batches
from espalier.runtime.sources import PictureSource, expand
from espalier.tasks import base as tasks
from espalier.tasks.base import ImageQuery
from espalier.vision.prepare import standard_prepare

PICTURES, BATCH, SIDE_PX = 32, 8, 224
CLAIM = 0.15
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLASSES = tuple(f"class {i}" for i in range(1000))


def photographs(folder: Path) -> list[Path]:
    """Drawn pictures of 640×480 px as JPEG files of quality 90."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{n:03d}.jpg" for n in range(PICTURES)]
    for path in paths:
        Image.fromarray(draw_picture((480, 640), 3, rng)).save(path, quality=90)
    return paths


def resnet18() -> bytes:
    """The graph, with random weights: time does not depend on them."""
    import timm
    from torch import Tensor, nn

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = timm.create_model("resnet18", pretrained=False)

        def forward(self, image: Tensor) -> dict[str, Tensor]:
            return {"logits": self.net(image)}

    return onnx_bytes(Named(), {"image": np.zeros((2, 3, SIDE_PX, SIDE_PX), np.float32)})


def bare(backend: OnnxRuntimeBackend, paths: list[Path], ready_BCHW: np.ndarray) -> None:
    """The least that anyone must do."""
    for start in range(0, len(paths), BATCH):
        for path in paths[start : start + BATCH]:
            with Image.open(path) as picture:
                np.asarray(picture.convert("RGB").resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR))
        backend.run({"image": ready_BCHW})


def queries(sources: list[PictureSource]) -> Iterator[ImageQuery]:
    """The pictures, read one by one."""
    return (source.read() for source in sources)


def in_one_thread(predictor: Predictor, sources: list[PictureSource]) -> None:
    """The predictor's work without its thread."""
    for batch in prepared_batches(predictor.prepare, queries(sources), BATCH):
        predictor.decoded(batch, predictor.backend.run(batch.inputs))


def seconds(work: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> int:
    """0 when the claim holds."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    with tempfile.TemporaryDirectory() as folder:
        paths = photographs(Path(folder))
        backend = OnnxRuntimeBackend(resnet18(), "cpu")
        prepare = standard_prepare((SIDE_PX, SIDE_PX), crop_fraction=0.95, mean=IMAGENET[0], std=IMAGENET[1])
        decode = tasks.get("classification").decoder("softmax", 1)
        predictor = Predictor(prepare, backend, decode, CLASSES, {}, batch_size=BATCH)
        sources = expand(paths)
        ready = np.zeros((BATCH, 3, SIDE_PX, SIDE_PX), np.float32)
        ways: dict[str, Callable[[], object]] = {
            "bare graph + Pillow": lambda: bare(backend, paths, ready),
            "predictor": lambda: predictor(queries(sources)),
            "predictor, one thread": lambda: in_one_thread(predictor, sources),
            "graph alone": lambda: [backend.run({"image": ready}) for _ in range(PICTURES // BATCH)],
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        gc.disable()
        for n in range(rounds + 1):
            for name, work in ways.items():
                took = seconds(work)
                if n:  # the first round warms up
                    times[name].append(took)
    middle = {name: statistics.median(taken) for name, taken in times.items()}
    for name, value in middle.items():
        print(f"{name:24s} {1000 * value / PICTURES:7.2f} ms a picture")
    ratios = [ours / base for ours, base in zip(times["predictor"], times["bare graph + Pillow"], strict=True)]
    ratio = statistics.median(ratios)
    print(f"predictor / bare: {ratio:.3f} (median of {rounds} rounds; at most {1 + CLAIM:.2f} is claimed)")
    print(f"in one thread / bare: {middle['predictor, one thread'] / middle['bare graph + Pillow']:.3f}")
    return 0 if ratio <= 1 + CLAIM else 1


if __name__ == "__main__":
    sys.exit(main())
