"""A small bundle written by hand: one ONNX node would do, here the graph is never run, so that bytes are enough."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from espalier.bundle import golden
from espalier.bundle.bundle import Bundle, record
from espalier.bundle.golden import GoldenSet
from espalier.bundle.manifest import Artifact, Decode, Golden, Licence, Manifest, Port, Provenance
from espalier.tasks import base as tasks
from espalier.tasks.base import ImageQuery
from espalier.vision.prepare import Prepare, standard_prepare

CLASSES = ("cat", "dog", "päron / 梨")
WEIGHTS = np.random.default_rng(1).normal(0, 0.01, (3 * 8 * 8, 3)).astype(np.float32)


def linear(inputs):  # the "graph": what a backend's run would be
    image_BCHW = inputs["image"]
    return {"logits": image_BCHW.reshape(len(image_BCHW), -1) @ WEIGHTS}


def prepare() -> Prepare:
    return standard_prepare((8, 8), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def golden_set() -> GoldenSet:
    rng = np.random.default_rng(0)
    queries = [ImageQuery(rng.integers(0, 256, (12, 10 + i, 3), np.uint8)) for i in range(3)]
    prepared = [prepare()(query) for query in queries]
    inputs = {"image": np.stack([p.arrays["image"] for p in prepared])}
    outputs = linear(inputs)
    task = tasks.get("classification")
    decoded = task.decoder("softmax", 1)(outputs, [p.geometry for p in prepared], CLASSES, {})
    said = [task.to_json(prediction, CLASSES) for prediction in decoded]
    return GoldenSet([golden.query_arrays(q) for q in queries], inputs, outputs, said)


def manifest(graph: bytes = b"graph") -> Manifest:
    artifact = Artifact(
        id="onnx-fp32",
        backend="onnxruntime",
        precision="fp32",
        files=(record("model.onnx", graph),),
        inputs=(Port(name="image", dtype="tensor(float)", shape=(None, 3, 8, 8)),),
        outputs=(Port(name="logits", dtype="tensor(float)", shape=(None, 3)),),
    )
    return Manifest(
        name="toy",
        task="classification",
        classes=CLASSES,
        prepare=prepare().to_json(),
        decode=Decode(name="softmax", version=1, params={"temperature": 1.0}),
        artifacts=(artifact,),
        golden=Golden(kind="drawn", count=3, tolerance=1e-3),
        licences=(Licence(name="w", licence="CC-BY-NC-4.0", url="https://example.org", commercial=False),),
        provenance=Provenance(versions={"espalier": "0.1.0"}, network="toy", figures={"accuracy": 0.5}),
    )


def write_toy(folder: Path, graph: bytes = b"graph") -> Path:
    contents = {"model.onnx": graph, "README.md": b"# toy\n", **golden.to_files(golden_set())}
    Bundle.write(folder, manifest(graph), contents)
    return folder


@pytest.fixture(scope="session")
def toy_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("bundle") / "toy")


@pytest.fixture
def toy(toy_once: Path, tmp_path: Path) -> Path:
    """A fresh copy to spoil."""
    return Path(shutil.copytree(toy_once, tmp_path / "toy"))
