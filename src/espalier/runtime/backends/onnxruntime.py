"""ONNX Runtime, the reference backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from espalier.errors import InputError, ModelError, Problem

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

_ERRORS = tuple(
    getattr(ort_errors, name)
    for name in ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NotImplemented",
                 "RuntimeException", "EPFail", "NoModel", "EngineError")
    if hasattr(ort_errors, name)
)  # fmt: skip
_FATAL_ONLY = 4


class OnnxRuntimeBackend:
    """Runs an ONNX graph. Sends nothing anywhere, and logs nothing: what goes wrong is raised."""

    name = "onnxruntime"

    def __init__(
        self, model: bytes | str | Path, device: str = "auto", threads: int | None = None, *, where: str = "model.onnx"
    ) -> None:
        """`model` is the graph's bytes or its file; bytes can't refer to other files. `threads` None takes all cores.

        Raises ModelError for a graph that can't be loaded, InputError for a device that isn't there.
        """
        wanted = chosen_device(device)
        self._where = str(model) if isinstance(model, (str, Path)) else where
        source = model if isinstance(model, bytes) else str(model)
        try:
            self._session = onnxruntime.InferenceSession(source, _options(threads), providers=_providers(wanted))
        except _ERRORS as error:
            raise ModelError(Problem(self._where, f"the graph can't be loaded: {_line(error)}")) from None
        self.device = _got(self._session.get_providers(), wanted, asked=device)
        self.input_names = tuple(port.name for port in self._session.get_inputs())
        self.output_names = tuple(port.name for port in self._session.get_outputs())

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The raw outputs of a batch. Raises ModelError where the inputs don't suit the graph."""
        self._check_names(inputs)
        try:
            arrays = self._session.run(list(self.output_names), {name: inputs[name] for name in self.input_names})
        except _ERRORS as error:
            shapes = ", ".join(f"{name} {np.shape(array)}" for name, array in inputs.items())
            raise ModelError(Problem(self._where, f"the graph does not run on {shapes}: {_line(error)}")) from None
        return dict(zip(self.output_names, arrays, strict=True))

    def ports(self) -> tuple[list[Port], list[Port]]:
        """(inputs, outputs) of the graph as (name, dtype, shape); a free dimension is None."""
        return _ports(self._session.get_inputs()), _ports(self._session.get_outputs())

    def _check_names(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        if set(inputs) != set(self.input_names):
            expected = f"the graph's inputs are {', '.join(self.input_names)}"
            raise ModelError(Problem(self._where, f"was given the inputs {', '.join(inputs) or 'none'}", expected))


Port = tuple[str, str, tuple[int | None, ...]]


def chosen_device(asked: str) -> str:
    """'cpu' or 'cuda'; auto takes the graphics card where this build of ONNX Runtime can use one."""
    there = onnxruntime.get_available_providers()
    if asked == "auto":
        return "cuda" if PROVIDERS["cuda"] in there else "cpu"
    if asked not in PROVIDERS:
        raise InputError(Problem("device", f"there is no device '{asked}'", f"one of: auto, {', '.join(PROVIDERS)}"))
    if PROVIDERS[asked] not in there:
        fix = "pip install onnxruntime-gpu in the place of onnxruntime, or take device=cpu"
        raise InputError(Problem("device", f"this build of ONNX Runtime does not run on '{asked}'", fix=fix))
    return asked


def _got(providers: Sequence[str], wanted: str, *, asked: str) -> str:
    """Where the session really runs: ONNX Runtime falls back to the CPU in silence when a driver is missing."""
    if PROVIDERS[wanted] in providers:
        return wanted
    if asked != "auto":
        raise InputError(
            Problem("device", f"'{asked}' could not be started", fix="check its driver, or take device=cpu")
        )
    return "cpu"


def _providers(device: str) -> list[str]:
    return [PROVIDERS[device], PROVIDERS["cpu"]] if device != "cpu" else [PROVIDERS["cpu"]]


def _options(threads: int | None) -> Any:
    onnxruntime.disable_telemetry_events()  # Windows builds have some
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def _ports(values: Sequence[Any]) -> list[Port]:
    return [(v.name, v.type, tuple(d if isinstance(d, int) else None for d in v.shape)) for v in values]


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
