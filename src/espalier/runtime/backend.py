"""What a backend is: whatever runs named arrays to named arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray


@runtime_checkable
class Backend(Protocol):
    """A torch module, an ONNX graph, …: one forward pass, no pictures, no decoding."""

    @property
    def name(self) -> str:
        """Its kind: onnxruntime, torch, …"""

    @property
    def device(self) -> str:
        """Where it runs: cpu, cuda, …"""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The raw outputs of a batch, by name; inputs and outputs have the batch axis first."""
