"""A torch model as an ONNX graph: dynamic batch, no trace of the machine that made it, the same bytes each time."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from espalier import storage
from espalier.errors import Problem, WorkError

PRODUCER = "espalier"
LARGEST_BYTES = 2**31 - 2**20
"""protobuf's limit, with room to spare."""

_HEIGHT, _WIDTH = 2, 3
_NOISY = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "torch._dynamo")


def to_onnx(
    model: nn.Module,
    example_inputs: Mapping[str, NDArray[Any]],
    path: str | Path,
    *,
    opset: int = 20,
    dynamic_size: bool = False,
) -> None:
    """Writes the graph of `model` with the example's input names and the model's own output names.

    The batch stays free; with `dynamic_size` so do height and width of image-like inputs (B, C, H, W). An example batch
    of at least 2 is needed: the exporter takes 1 for a constant. Raises WorkError where the exporter can't follow.
    """
    storage.write_atomic(path, onnx_bytes(model, example_inputs, opset=opset, dynamic_size=dynamic_size))


def onnx_bytes(
    model: nn.Module, example_inputs: Mapping[str, NDArray[Any]], *, opset: int = 20, dynamic_size: bool = False
) -> bytes:
    """The graph that `to_onnx` writes."""
    inputs = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in example_inputs.items()}
    with _on_cpu_evaluating(model), _quiet():
        with torch.no_grad():
            output_names = list(model(**inputs))
        proto = _exported(model, inputs, output_names, opset, dynamic_size)
    strip(proto)
    onnx.checker.check_model(proto)
    return _serialised(proto)


def _exported(
    model: nn.Module, inputs: dict[str, Tensor], output_names: list[str], opset: int, dynamic_size: bool
) -> onnx.ModelProto:
    try:
        program = torch.onnx.export(
            model,
            (),
            kwargs=inputs,
            input_names=list(inputs),
            output_names=output_names,
            opset_version=opset,
            dynamo=True,
            dynamic_shapes={name: _free_axes(tensor, dynamic_size) for name, tensor in inputs.items()},
            external_data=False,
            verbose=False,
        )
    except (torch.onnx.OnnxExporterError, torch._dynamo.exc.TorchDynamoException, RuntimeError, ValueError) as error:
        raise WorkError(_not_exportable(model, error)) from error
    assert program is not None
    proto: onnx.ModelProto = program.model_proto
    return proto


def _free_axes(tensor: Tensor, dynamic_size: bool) -> dict[int, Any]:
    image_like = dynamic_size and tensor.ndim == _WIDTH + 1
    return dict.fromkeys((0, _HEIGHT, _WIDTH) if image_like else (0,), Dim.DYNAMIC)


def _not_exportable(model: nn.Module, error: BaseException) -> Problem:
    lines = [line for line in str(error).splitlines() if line.strip()]
    reason = lines[0][:300] if lines else type(error).__name__
    return Problem(
        type(model).__name__,
        f"the exporter could not follow the network: {reason}",
        fix="see the whole reason with --debug; try another export.opset, or export.dynamic_size=false",
    )


def strip(proto: onnx.ModelProto) -> None:
    """Takes out of the graph, in place, what the exporter noted about the machine: stack traces, scopes, versions."""
    proto.producer_name, proto.producer_version = PRODUCER, ""
    proto.model_version, proto.domain = 0, ""
    _forget(proto)
    for function in proto.functions:
        _forget(function)
        _strip_nodes(function.node)
        _forget_all(function.value_info)
    _strip_graph(proto.graph)


def _strip_graph(graph: onnx.GraphProto) -> None:
    graph.name = "main"
    _forget(graph)
    del graph.value_info[:]  # shapes in between: ONNX Runtime infers them, and their symbols' names may vary
    for values in (graph.input, graph.output, graph.initializer):
        _forget_all(values)
    _name_free_axes(graph)
    _strip_nodes(graph.node)


def _strip_nodes(nodes: Any) -> None:
    for number, node in enumerate(nodes):
        _forget(node)
        node.name = f"{node.op_type}_{number}"
        for attribute in node.attribute:
            attribute.doc_string = ""
            for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                _strip_graph(graph)


def _name_free_axes(graph: onnx.GraphProto) -> None:
    """Free axes as `batch`, `height`, `width` and `<value>_<axis>`, not as the exporter's counters s0, s77."""
    names: dict[str, str] = {}
    for value in (*graph.input, *graph.output):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param:
                usual = {0: "batch", _HEIGHT: "height", _WIDTH: "width"}.get(axis, f"{value.name}_{axis}")
                dim.dim_param = names.setdefault(dim.dim_param, usual)


def _forget_all(values: Any) -> None:
    for value in values:
        _forget(value)


def _forget(message: Any) -> None:
    message.doc_string = ""
    del message.metadata_props[:]


def _serialised(proto: onnx.ModelProto) -> bytes:
    size = proto.ByteSize()
    if size > LARGEST_BYTES:
        raise WorkError(Problem("model.onnx", f"would have {size / 2**30:.1f} GB", "an ONNX file holds at most 2 GB"))
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


@contextmanager
def _on_cpu_evaluating(model: nn.Module) -> Iterator[None]:
    """The model on the CPU in evaluation mode; each part is put back where and how it was."""
    modes = [(module, module.training) for module in model.modules()]
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    model.eval().cpu()
    try:
        yield
    finally:
        model.to(device)
        for module, training in modes:
            module.training = training


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's own chatter off; what matters is raised."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
