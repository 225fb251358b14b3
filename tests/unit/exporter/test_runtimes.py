"""In which runtimes an exported graph was proven."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from espalier.errors import MissingExtraError, ModelError, ParityError
from espalier.exporter import runtimes
from espalier.exporter.parity import ParityReport

INPUT = {"image": np.ones((2, 3, 4, 4), np.float32)}
REFERENCE = ParityReport(1e-3, {"y": 1.234e-7}, (2,), ((4, 4),), 2)


class Says:
    """A backend that says one number."""

    name, device = "says", "cpu"

    def __init__(self, value: float) -> None:
        self.value = value

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {"y": np.full(len(inputs["image"]), self.value, np.float32)}


def proven(monkeypatch: pytest.MonkeyPatch, other: Any, *, version: str | None = "9.1", asked: Any = "auto") -> Any:
    monkeypatch.setattr(runtimes, "installed", lambda name: {"openvino": version}.get(name, "1.0"))

    def make(name: str, graph: bytes, **_: Any) -> Any:
        if isinstance(other, Exception):
            raise other
        return other

    monkeypatch.setattr(runtimes, "onnx_backend", make)
    return runtimes.proven(b"", Says(1), REFERENCE, trials=[[INPUT]], asked=asked, match=None, where="model.onnx")


def test_the_error_and_the_version_are_kept(monkeypatch):
    reference, other = proven(monkeypatch, Says(1.00001))
    assert (reference.backend, reference.version, reference.error) == ("onnxruntime", "1.0", 1.2e-7)
    assert (other.backend, other.version) == ("openvino", "9.1")
    assert other.error == pytest.approx(1e-5, rel=0.1)


@pytest.mark.parametrize(
    ("version", "asked", "note"),
    [(None, "auto", "not run: not installed"), ("9.1", ("onnxruntime",), "not run: not asked for")],
)
def test_what_did_not_run_says_why(monkeypatch, version, asked, note):
    _, other = proven(monkeypatch, AssertionError("it was asked"), version=version, asked=asked)
    assert (other.error, other.version, other.note) == (None, "", note)


def test_a_runtime_that_says_something_else(monkeypatch):
    with pytest.raises(ParityError, match=r"model.onnx in openvino: output 'y'"):
        proven(monkeypatch, Says(1.1))


def test_a_runtime_that_can_not_run_it(monkeypatch):
    with pytest.raises(ParityError, match=r"export.backends=\[onnxruntime\]"):
        proven(monkeypatch, ModelError("can't load the graph"))


def test_one_asked_for_by_name_has_to_be_there(monkeypatch):
    monkeypatch.setattr(runtimes, "installed", lambda name: None)
    runtimes.check_installed("auto")
    runtimes.check_installed(["onnxruntime"])
    with pytest.raises(MissingExtraError, match="openvino"):
        runtimes.check_installed(["onnxruntime", "openvino"])
