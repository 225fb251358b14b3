"""OpenVINO as a backend."""

from __future__ import annotations

import numpy as np
import pytest

import espalier
from espalier.bundle.bundle import Bundle
from espalier.errors import InputError, MissingExtraError, ModelError
from espalier.runtime.backend import Backend
from espalier.runtime.backends import openvino as module
from espalier.runtime.model import backend_of

from .conftest import external_graph, graph


@pytest.fixture
def make():
    pytest.importorskip("openvino")
    return module.OpenVinoBackend


def test_what_is_not_installed_is_told(monkeypatch, bundle_folder):
    monkeypatch.setattr(module, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"espalier-vision\[openvino\]"):
        backend_of(Bundle.open(bundle_folder), "openvino")


def test_run(make):
    runs = make(graph(), "cpu", threads=1)
    assert isinstance(runs, Backend)
    image_BCHW = np.arange(2 * 48, dtype=np.float32).reshape(2, 3, 4, 4)
    np.testing.assert_allclose(runs.run({"image": image_BCHW})["logits"], [[7.5, 39.5], [55.5, 87.5]])
    np.testing.assert_allclose(runs.run({"image": image_BCHW[:1]})["logits"], [[7.5, 39.5]])


def test_what_was_said_stays(make):
    runs = make(graph(), "cpu", threads=1)
    first = runs.run({"image": np.ones((1, 3, 4, 4), np.float32)})["logits"]
    runs.run({"image": np.zeros((1, 3, 4, 4), np.float32)})
    np.testing.assert_allclose(first, [[1, 1]])


def test_wrong_inputs_are_told(make):
    runs = make(graph(), "cpu")
    with pytest.raises(ModelError, match="inputs are image"):
        runs.run({"picture": np.zeros((1, 3, 4, 4), np.float32)})
    with pytest.raises(ModelError, match=r"\(1, 3, 5, 5\)"):
        runs.run({"image": np.zeros((1, 3, 5, 5), np.float32)})
    with pytest.raises(ModelError, match="does not run on image of float64"):
        runs.run({"image": np.zeros((1, 3, 4, 4), np.float64)})


@pytest.mark.parametrize("data", [b"", b"nonsense", graph()[:-20], graph()[:40]])
def test_a_damaged_graph_is_told(make, data):
    with pytest.raises(ModelError, match="can't load"):
        make(data, "cpu")


@pytest.mark.parametrize("location", ["../secret.bin", "secret.bin", "/etc/hostname"])
def test_a_graph_from_a_bundle_reads_no_other_file(make, location, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    with pytest.raises(ModelError, match="can't load"):
        make(external_graph(location), "cpu")


def test_only_the_cpu(make):
    with pytest.raises(InputError, match="does not run on 'cuda'"):
        make(graph(), "cuda")


def test_a_bundle_by_name(make, bundle_folder):
    model = espalier.load(bundle_folder, backend="openvino", threads=1)
    assert model.predictor.backend.name == "openvino"
    (red,) = model.predict(np.full((6, 6, 3), (255, 0, 51), np.uint8))
    assert red.score == pytest.approx(0.689974, abs=1e-5)
