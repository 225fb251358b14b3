"""Small ONNX graphs made by hand, and a real bundle around one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from espalier.bundle import golden
from espalier.bundle.bundle import Bundle, record
from espalier.bundle.golden import GoldenSet
from espalier.bundle.manifest import Artifact, Decode, Golden, Manifest, Port
from espalier.tasks.base import ImageQuery
from espalier.vision.prepare import standard_prepare


def graph() -> bytes:
    """image (B, 3, 4, 4) → logits (B, 2): the mean of red, and of blue."""
    weights = np.array([[1, 0], [0, 0], [0, 1]], np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["logits"]),
    ]
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 4, 4])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])]
    made = helper.make_graph(nodes, "main", inputs, outputs, [numpy_helper.from_array(weights, "w")])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def external_graph(location: str) -> bytes:
    """y = x + w, where w lies in another file."""
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, "offset": "0", "length": "16"}.items():
        weight.external_data.add(key=key, value=value)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    made = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "main", [x], [y], [weight])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    onnx.checker.check_model(onnx.load_from_string(graph()))
    folder = tmp_path_factory.mktemp("runtime") / "bundle"
    prepare = standard_prepare((4, 4), fit="stretch")
    query = ImageQuery(np.full((6, 6, 3), (255, 0, 51), np.uint8))
    inputs = {"image": prepare(query).arrays["image"][None]}
    said = {"class": "red", "score": 0.689974, "scores": {"red": 0.689974, "blue": 0.310026}}  # softmax of (1, 0.2)
    outputs = {"logits": np.array([[1.0, 0.2]], np.float32)}
    made = GoldenSet([golden.query_arrays(query)], inputs, outputs, [said])
    artifact = Artifact(
        id="onnx-fp32",
        backend="onnxruntime",
        precision="fp32",
        files=(record("model.onnx", graph()),),
        inputs=(Port(name="image", dtype="tensor(float)", shape=(None, 3, 4, 4)),),
        outputs=(Port(name="logits", dtype="tensor(float)", shape=(None, 2)),),
    )
    manifest = Manifest(
        name="colours",
        task="classification",
        classes=("red", "blue"),
        prepare=prepare.to_json(),
        decode=Decode(name="softmax", version=1),
        artifacts=(artifact,),
        golden=Golden(kind="drawn", count=1, tolerance=1e-3),
    )
    Bundle.write(folder, manifest, {"model.onnx": graph(), **golden.to_files(made)})
    return folder
