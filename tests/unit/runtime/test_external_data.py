"""Graphs that name other files."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from espalier.runtime.external_data import reads_files

from .conftest import external_graph, graph


def outside() -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="secret.bin")
    return tensor


def model(nodes: list[onnx.NodeProto], sparse: list[onnx.SparseTensorProto] | None = None) -> bytes:
    made = helper.make_graph(nodes, "main", [], [], sparse_initializer=sparse)
    return helper.make_model(made).SerializeToString()


def branch(*nodes: onnx.NodeProto) -> onnx.NodeProto:
    inner = helper.make_graph(list(nodes), "inner", [], [])
    return helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)


def test_a_whole_graph_reads_none():
    assert not reads_files(graph())
    assert not reads_files(b"")
    inside = numpy_helper.from_array(np.ones(3, np.float32))
    assert not reads_files(model([branch(helper.make_node("Constant", [], ["k"], value=inside))]))


def test_wherever_the_tensor_is():
    constant = helper.make_node("Constant", [], ["k"], value=outside())
    assert reads_files(external_graph("w.bin"))
    assert reads_files(model([constant]))
    assert reads_files(model([branch(branch(constant))]))
    assert reads_files(model([], [onnx.SparseTensorProto(values=outside(), dims=[9])]))
    function = helper.make_function("own", "F", [], ["k"], [constant], [helper.make_opsetid("", 20)])
    whole = helper.make_model(helper.make_graph([], "main", [], []), functions=[function])
    assert reads_files(whole.SerializeToString())


def test_deep_graphs_are_walked():
    node = helper.make_node("Constant", [], ["k"], value=outside())
    for _ in range(12):
        node = branch(node)
    assert reads_files(model([node]))


@pytest.mark.parametrize("data", [b"\xff" * 20, b"\x3a\x50ab", b"\x3b", graph()[:-20]])
def test_what_is_no_message(data):
    with pytest.raises(ValueError, match=r"no end|behind|unknown"):
        reads_files(data)
