"""ONNX Runtime as a backend, and `espalier.load`."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import espalier
from espalier.bundle.bundle import Bundle, write_zip
from espalier.errors import ImageError, InputError, ModelError
from espalier.runtime.backends.onnxruntime import OnnxRuntimeBackend, chosen_device
from espalier.runtime.model import backend

from .conftest import external_graph, graph

RED = np.full((6, 6, 3), (255, 0, 51), np.uint8)
BLUE = np.full((9, 5, 3), (0, 0, 255), np.uint8)


def test_run_and_ports():
    runs = OnnxRuntimeBackend(graph(), "cpu", threads=1)
    image_BCHW = np.arange(2 * 48, dtype=np.float32).reshape(2, 3, 4, 4)
    np.testing.assert_allclose(runs.run({"image": image_BCHW})["logits"], [[7.5, 39.5], [55.5, 87.5]])
    assert runs.ports() == ([("image", "tensor(float)", (None, 3, 4, 4))], [("logits", "tensor(float)", (None, 2))])


def test_wrong_inputs_are_told():
    runs = OnnxRuntimeBackend(graph(), "cpu")
    with pytest.raises(ModelError, match="inputs are image"):
        runs.run({"picture": np.zeros((1, 3, 4, 4), np.float32)})
    with pytest.raises(ModelError, match=r"\(1, 3, 5, 5\)"):
        runs.run({"image": np.zeros((1, 3, 5, 5), np.float32)})
    with pytest.raises(ModelError, match="does not run"):
        runs.run({"image": np.zeros((1, 3, 4, 4), np.float64)})


@pytest.mark.parametrize("data", [b"", b"nonsense", graph()[:-20], graph()[:40]])
def test_a_damaged_graph_is_told(data):
    with pytest.raises(ModelError, match="can't be loaded"):
        OnnxRuntimeBackend(data, "cpu")


@pytest.mark.parametrize("location", ["../secret.bin", "secret.bin", "/etc/hostname"])
def test_a_graph_from_a_bundle_reads_no_other_file(location, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    with pytest.raises(ModelError, match="can't be loaded"):
        OnnxRuntimeBackend(external_graph(location), "cpu")


def test_devices():
    assert chosen_device("cpu") == "cpu"
    with pytest.raises(InputError, match="no device 'gpu'"):
        chosen_device("gpu")


def test_a_card_that_does_not_start_is_not_claimed(monkeypatch):
    import onnxruntime

    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    session = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda *a, providers, **k: session(*a, providers=["CPUExecutionProvider"], **k)
    )
    assert OnnxRuntimeBackend(graph(), "auto").device == "cpu"
    with pytest.raises(InputError, match="could not be started"):
        OnnxRuntimeBackend(graph(), "cuda")


@pytest.mark.parametrize("kind", ["folder", "zip", "run"])
def test_load_and_predict(bundle_folder, tmp_path, kind):
    path = bundle_folder
    if kind == "zip":
        path = tmp_path / "b.zip"
        write_zip(bundle_folder, path)
    if kind == "run":
        path = tmp_path / "run"
        shutil.copytree(bundle_folder, path / "bundle")
        (path / "run.json").write_text(json.dumps({"format_version": 1}))
    model = espalier.load(path, device="cpu")
    assert model.classes == ("red", "blue")
    assert model.task.name == "classification"
    red, blue = model.predict([RED, Image.fromarray(BLUE)])
    assert (red.class_id, blue.class_id) == (0, 1)
    assert red.score == pytest.approx(0.689974, abs=1e-5)


def test_one_picture_alone(bundle_folder, tmp_path):
    model = espalier.load(bundle_folder)
    file = tmp_path / "blue.png"
    Image.fromarray(BLUE).save(file)
    for one in (file, str(file), file.read_bytes(), BLUE, Image.fromarray(BLUE), tmp_path, f"{tmp_path}/*.png"):
        assert [p.class_id for p in model.predict(one)] == [1]
    with pytest.raises(ImageError, match="at most 10 pixels"):
        model.predict(file, max_pixels=10)


def test_verify_by_the_real_backend(bundle_folder):
    bundle = Bundle.open(bundle_folder)
    assert bundle.verify(backend(bundle, bundle.artifact(), device="cpu").run).passed


def test_an_artifact_of_an_unknown_backend(bundle_folder):
    bundle = Bundle.open(bundle_folder)
    other = bundle.artifact().model_copy(update={"backend": "abacus"})
    with pytest.raises(ModelError, match="abacus"):
        backend(bundle, other)
    with pytest.raises(ModelError, match="it has: onnxruntime fp32"):
        bundle.artifact(backend="abacus")
