"""Pictures a second of the detectors' smallest preset as a bundle's graph on the CPU, and what prepare and decode add.

    python benchmarks/detection_bundle.py [--networks fcos dino] [--preset nano] [--rounds 9] [--threads 1]

The graph (random weights: time does not depend on them) runs on one picture of the preset's size in ONNX Runtime, in
OpenVINO as the bundle runs it, and in OpenVINO with its shapes fixed beforehand (where OpenVINO is installed). The
predictor reads 640×480 JPEGs, prepares, runs and decodes them; its overhead is over the graph plus Pillow's decode and
resize of the same files. The ways take turns, round by round; ratios are medians over the rounds. Fails where the
overhead is above the claim.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from timing import CLOCKS, in_turns, ratio

from espalier.exporter.golden import draw_picture
from espalier.exporter.onnx import onnx_bytes
from espalier.networks import card as cards
from espalier.networks import registry
from espalier.runtime.backends.onnxruntime import OnnxRuntimeBackend
from espalier.runtime.predictor import Predictor
from espalier.runtime.sources import expand
from espalier.spec.load import load_spec
from espalier.spec.resolve import Facts, resolve
from espalier.tasks import base as tasks
from espalier.tasks.base import ImageQuery

CLAIM = 0.15
PICTURES = 8
CLASSES = tuple(f"class {n}" for n in range(10))


class Detector:
    """A preset with random weights, its graph, and what surrounds it."""

    def __init__(self, name: str, preset: str) -> None:
        torch.manual_seed(0)
        values = {"name": name, "preset": preset, "backbone": {"weights": "none"}}
        spec = load_spec({"network": values}, lookup=registry.entry)
        facts = Facts(n_train=2, classes=CLASSES, class_counts=(1,) * len(CLASSES), multi_label=False)
        network = resolve(spec, facts)[0].network
        assert network is not None
        card = registry.get(name)
        self.prepare, rule = card.prepare(network), card.decode(network)
        self.decode = tasks.get(card.task_of(network)).decoder(rule.name, rule.version)
        self.params = rule.params
        model = cards.build(card, network, CLASSES)
        self.graph = onnx_bytes(model, self.inputs(2))

    def inputs(self, count: int) -> dict[str, Any]:
        """Ready arrays of `count` pictures."""
        image = draw_picture(self.prepare.size_hw, 3, np.random.default_rng(0))
        prepared = [self.prepare(ImageQuery(image, name=str(n))) for n in range(count)]
        return {name: np.stack([each.arrays[name] for each in prepared]) for name in prepared[0].arrays}

    def predictor(self, backend: Any) -> Predictor:
        """One picture at a time."""
        return Predictor(self.prepare, backend, self.decode, CLASSES, self.params, batch_size=1)


def static_openvino(graph: bytes, inputs: dict[str, Any], threads: int) -> Callable[[], object]:
    """OpenVINO with the shapes of these inputs."""
    import io

    import openvino

    model = openvino.Core().read_model(io.BytesIO(graph))
    model.reshape({name: list(array.shape) for name, array in inputs.items()})
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(model, "CPU", options)
    return lambda: compiled(inputs)


def graphs(detector: Detector, threads: int) -> dict[str, Callable[[], object]]:
    """One picture through the graph, by runtime."""
    one = detector.inputs(1)
    plain = OnnxRuntimeBackend(detector.graph, "cpu", threads)
    ways: dict[str, Callable[[], object]] = {"ONNX Runtime": lambda: plain.run(one)}
    if find_spec("openvino"):
        from espalier.runtime.backends.openvino import OpenVinoBackend

        served = OpenVinoBackend(detector.graph, "cpu", threads)
        ways["OpenVINO"] = lambda: served.run(one)
        ways["OpenVINO, shapes fixed"] = static_openvino(detector.graph, one, threads)
    return ways


def photographs(folder: Path) -> list[Path]:
    """Drawn pictures of 640×480 px as JPEG files of quality 90."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{n}.jpg" for n in range(PICTURES)]
    for path in paths:
        Image.fromarray(draw_picture((480, 640), 3, rng)).save(path, quality=90)
    return paths


def bare(backend: OnnxRuntimeBackend, paths: list[Path], one: dict[str, Any], size_hw: tuple[int, int]) -> None:
    """The least that anyone must do for these files."""
    for path in paths:
        with Image.open(path) as picture:
            np.asarray(picture.convert("RGB").resize(size_hw[::-1], Image.Resampling.BILINEAR))
        backend.run(one)


def measure(name: str, options: argparse.Namespace) -> float:
    """A table; the predictor's time over the bare work's."""
    detector, clock = Detector(name, options.preset), CLOCKS[options.clock]
    ways = graphs(detector, options.threads)
    times = in_turns(ways, rounds=options.rounds, clock=clock)
    print(f"\n{name}, {options.preset}, {detector.prepare.size_hw[0]} px, {options.threads} threads")
    for way, taken in times.items():
        print(f"  {way:24s} {1 / median(taken):7.1f} pictures/s, {ratio(taken, times['ONNX Runtime']):.3f} of the time")
    backend, one = OnnxRuntimeBackend(detector.graph, "cpu", options.threads), detector.inputs(1)
    predictor = detector.predictor(backend)
    with tempfile.TemporaryDirectory() as folder:
        paths = photographs(Path(folder))
        sources = expand(paths)
        work: dict[str, Callable[[], object]] = {
            "bare": lambda: bare(backend, paths, one, detector.prepare.size_hw),
            "predictor": lambda: predictor(source.read() for source in sources),
        }
        around = in_turns(work, rounds=options.rounds, clock=clock)
    over = ratio(around["predictor"], around["bare"])
    print(f"  predictor {PICTURES / median(around['predictor']):.1f} files/s, {over:.3f} of graph + Pillow", flush=True)
    return over


def main() -> int:
    """0 when the claim holds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--networks", nargs="+", default=("fcos", "deformable_detr", "dino"))
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    options = parser.parse_args()
    worst = max(measure(name, options) for name in options.networks)
    print(f"\nworst overhead: {worst - 1:.1%} (at most {CLAIM:.0%} is claimed)")
    return 0 if worst <= 1 + CLAIM else 1


if __name__ == "__main__":
    sys.exit(main())
