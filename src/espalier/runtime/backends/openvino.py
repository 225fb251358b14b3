"""OpenVINO, which runs a bundle's ONNX graph on processors of Intel's kind, often faster than the reference does."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.errors import InputError, MissingExtraError, ModelError, Problem
from espalier.runtime.external_data import reads_files

try:
    import openvino
except ImportError:
    openvino = None

EXTRA = "openvino"
DEVICE = "CPU"

# By itself OpenVINO computes in bf16 or fp16 where the processor has them, which is outside any parity tolerance.
PRECISION = "f32"


class OpenVinoBackend:
    """Runs an ONNX graph in fp32 on the CPU. Reads no other file, sends nothing anywhere."""

    name = "openvino"
    device = "cpu"

    def __init__(
        self, model: bytes | str | Path, device: str = "auto", threads: int | None = None, *, where: str = "model.onnx"
    ) -> None:
        """`model` is the graph's bytes or its file. `threads` None takes all cores.

        Raises MissingExtraError where OpenVINO is not installed, ModelError for a graph that can't be loaded,
        InputError for another device than the CPU.
        """
        if openvino is None:
            raise MissingExtraError(EXTRA, "running a graph in OpenVINO")
        _check_device(device)
        self._where = str(model) if isinstance(model, (str, Path)) else where
        data = model if isinstance(model, bytes) else Path(model).read_bytes()
        _check_whole(data, self._where)
        core = openvino.Core()
        try:
            graph = core.read_model(io.BytesIO(data))
            self._compiled = core.compile_model(graph, DEVICE, _options(threads))
        except RuntimeError as error:
            raise ModelError(Problem(self._where, f"OpenVINO can't load the graph: {_line(error)}")) from None
        self.input_names = tuple(port.get_any_name() for port in self._compiled.inputs)
        self.output_names = tuple(port.get_any_name() for port in self._compiled.outputs)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The raw outputs of a batch. Raises ModelError where the inputs don't suit the graph."""
        self._check(inputs)
        try:
            found = self._compiled(dict(inputs), share_inputs=False, share_outputs=False)
        except RuntimeError as error:
            shapes = ", ".join(f"{name} {np.shape(array)}" for name, array in inputs.items())
            raise ModelError(Problem(self._where, f"the graph does not run on {shapes}: {_line(error)}")) from None
        return {name: np.asarray(found[place]) for place, name in enumerate(self.output_names)}

    def _check(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Raises ModelError for other names, and for other types, which OpenVINO would convert in silence."""
        if set(inputs) != set(self.input_names):
            expected = f"the graph's inputs are {', '.join(self.input_names)}"
            raise ModelError(Problem(self._where, f"was given the inputs {', '.join(inputs) or 'none'}", expected))
        for port in self._compiled.inputs:
            name, wanted = port.get_any_name(), np.dtype(port.get_element_type().to_dtype())
            if inputs[name].dtype != wanted:
                what = f"the graph does not run on {name} of {inputs[name].dtype}"
                raise ModelError(Problem(self._where, what, f"it takes {wanted}"))


def _check_whole(data: bytes, where: str) -> None:
    """Raises ModelError for a graph with tensors in other files: OpenVINO would read whatever file it names."""
    try:
        reads = reads_files(data)
    except ValueError as error:
        raise ModelError(Problem(where, f"OpenVINO can't load the graph: {error}")) from None
    if reads:
        what = "OpenVINO can't load the graph: a tensor of it lies in another file"
        raise ModelError(Problem(where, what, "a graph that is whole"))


def _check_device(asked: str) -> None:
    if asked not in ("auto", "cpu"):
        what, expected = f"OpenVINO does not run on '{asked}' here", "one of: auto, cpu"
        raise InputError(Problem("device", what, expected, "take device=cpu, or the backend onnxruntime"))


def _options(threads: int | None) -> dict[str, Any]:
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": PRECISION, "PERFORMANCE_HINT": "LATENCY"}
    return options if threads is None else options | {"INFERENCE_NUM_THREADS": threads}


def _line(error: BaseException) -> str:
    """What is behind the places in OpenVINO's own source that its messages begin with."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return " ".join(said or lines)[:300]
