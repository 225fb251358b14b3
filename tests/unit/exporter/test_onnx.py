"""The exporter: free axes, no trace of this machine, the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from espalier.errors import WorkError
from espalier.exporter.onnx import onnx_bytes, to_onnx
from espalier.layers.module_backend import ModuleBackend
from espalier.runtime.backends.onnxruntime import OnnxRuntimeBackend

from .networks import Fine, LoopsOverValues, TwoInputs, seeded


@pytest.fixture(scope="module")
def model() -> Fine:
    return seeded(Fine).train()


@pytest.fixture(scope="module")
def graph(model) -> bytes:
    return onnx_bytes(model, {"image": np.zeros((2, 3, 16, 16), np.float32)}, dynamic_size=True)


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (1, 3, 16, 16), (5, 3, 16, 16), (3, 3, 24, 40)])
def test_any_batch_and_size_gives_the_models_numbers(model, graph, shape):
    inputs = {"image": np.random.default_rng(0).normal(size=shape).astype(np.float32)}
    expected = ModuleBackend(model).run(inputs)["logits"]
    found = OnnxRuntimeBackend(graph, "cpu").run(inputs)["logits"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_model_is_left_as_it_was(model, graph):
    assert model.training
    assert model.drop.training


def test_names_and_free_axes(graph):
    backend = OnnxRuntimeBackend(graph, "cpu")
    assert backend.ports() == (
        [("image", "tensor(float)", (None, 3, None, None))],
        [("logits", "tensor(float)", (None, 3))],
    )
    proto = onnx.load_from_string(graph)
    assert [d.dim_param for d in proto.graph.input[0].type.tensor_type.shape.dim] == ["batch", "", "height", "width"]
    assert proto.opset_import[0].version == 20


def test_no_trace_of_the_machine(graph):
    proto = onnx.load_from_string(graph)
    assert proto.producer_name == "espalier"
    assert not proto.producer_version
    assert not proto.metadata_props
    assert not any(node.metadata_props or node.doc_string for node in proto.graph.node)
    for mark in (b".py", b"torch", b"site-packages", b"forward", str(Path.cwd()).encode(), str(Path.home()).encode()):
        assert mark not in graph, mark


def test_several_inputs_and_outputs():
    shape = {"before": np.zeros((2, 3, 4, 4), np.float32), "after": np.zeros((2, 3, 4, 4), np.float32)}
    backend = OnnxRuntimeBackend(onnx_bytes(TwoInputs(), shape, opset=18), "cpu")
    assert backend.input_names == ("before", "after")
    assert backend.output_names == ("change", "score")
    found = backend.run({"before": np.zeros((3, 3, 4, 4), np.float32), "after": np.ones((3, 3, 4, 4), np.float32)})
    np.testing.assert_allclose(found["change"], np.ones((3, 3)))
    np.testing.assert_allclose(found["score"], np.full(3, 1 / (1 + np.exp(-3))), rtol=1e-6)


def test_what_can_not_be_exported_is_told():
    with pytest.raises(WorkError, match="could not follow the network"):
        onnx_bytes(seeded(LoopsOverValues), {"image": np.zeros((2, 3, 16, 16), np.float32)})


def test_to_onnx_writes_it(model, graph, tmp_path):
    to_onnx(model, {"image": np.zeros((2, 3, 16, 16), np.float32)}, tmp_path / "m.onnx", dynamic_size=True)
    assert (tmp_path / "m.onnx").read_bytes() == graph
