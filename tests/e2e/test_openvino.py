"""A trained detector exported, proven and asked in OpenVINO, by the verbs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.e2e.objects import draw_objects

import espalier
from espalier.bundle.bundle import Bundle

pytestmark = pytest.mark.slow


def test_from_a_training_to_openvino(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    draw_objects(tmp_path / "train", count=6, empty=1, seed=1)
    draw_objects(tmp_path / "val", count=4, empty=1, seed=2)
    spec = {
        "network": {"name": "dino", "preset": "tiny"},
        "data": {"train": str(tmp_path / "train"), "val": str(tmp_path / "val")},
        "train": {"epochs": 1, "batch_size": 3, "workers": 0, "device": "cpu", "tensorboard": False},
        "evaluate": {"bootstrap": 0, "pictures": 0},
    }
    espalier.train(spec, out=tmp_path / "run", progress=False)
    asked = {"export.dynamic_size": True, "export.backends": ["onnxruntime", "openvino"]}
    exported = espalier.export(tmp_path / "run", out=tmp_path / "out", overrides=asked, progress=False)
    bundle = tmp_path / "out" / "bundle"
    reference, other = exported["runtimes"]
    assert (reference["backend"], other["backend"]) == ("onnxruntime", "openvino")
    assert other["error"] < 1e-4
    assert Bundle.open(bundle).artifact().runtimes[1].version == other["version"] != ""
    verified = espalier.verify(bundle, overrides={"verify.backend": "openvino"}, progress=False)
    assert verified["passed"]
    pictures = str(tmp_path / "val")
    scores = [
        espalier.evaluate(
            bundle,
            pictures,
            out=tmp_path / name,
            overrides={"evaluate.backend": name, "evaluate.bootstrap": 0, "evaluate.pictures": 0},
            progress=False,
        )["figures"]["map"]["value"]
        for name in ("onnxruntime", "openvino")
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)
    said = espalier.predict(
        bundle, pictures, out=tmp_path / "said", overrides={"predict.backend": "openvino"}, progress=False
    )
    assert said["pictures"] == 4
