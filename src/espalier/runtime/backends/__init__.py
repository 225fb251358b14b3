"""The backends, a file each, and which of them run an ONNX graph."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping

from espalier.runtime.backend import Backend

REFERENCE = "onnxruntime"


def onnx_backend(
    name: str, graph: bytes, *, device: str = "auto", threads: int | None = None, where: str = "model.onnx"
) -> Backend:
    """The backend of that name, one of READS_ONNX, on a graph; what isn't installed raises MissingExtraError."""
    return READS_ONNX[name](graph, device, threads, where)


def installed(name: str) -> str | None:
    """The version of a backend on this machine; None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _onnxruntime(graph: bytes, device: str, threads: int | None, where: str) -> Backend:
    from espalier.runtime.backends.onnxruntime import OnnxRuntimeBackend

    return OnnxRuntimeBackend(graph, device, threads, where=where)


def _openvino(graph: bytes, device: str, threads: int | None, where: str) -> Backend:
    from espalier.runtime.backends.openvino import OpenVinoBackend

    return OpenVinoBackend(graph, device, threads, where=where)


READS_ONNX: Mapping[str, Callable[[bytes, str, int | None, str], Backend]] = {
    REFERENCE: _onnxruntime,
    "openvino": _openvino,
}
"""By name; each takes the graph's bytes, a device, a number of threads and where the graph is from."""
