"""A torch module as a backend: named arrays in, named arrays out, like any exported graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espalier.layers.model import TrainableModel

Precision = Literal["fp32", "bf16", "fp16"]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class ModuleBackend:
    """Runs a model in evaluation mode and leaves it in the mode in which it was found."""

    name = "torch"

    def __init__(
        self, model: TrainableModel, device: str | torch.device = "cpu", precision: Precision = "fp32"
    ) -> None:
        self.model = model.to(device)
        self.device = str(device)
        self.precision = precision

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The raw outputs of a batch; floating outputs are float32 whatever the precision of the pass."""
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in inputs.items()}
        with torch.no_grad(), evaluating(self.model), self._autocast():
            outputs = self.model(**{name: tensor.to(self.device) for name, tensor in tensors.items()})
        return {name: _array(tensor) for name, tensor in outputs.items()}

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=_DTYPES[self.precision])


@contextmanager
def evaluating(model: TrainableModel) -> Iterator[None]:
    """Evaluation mode inside; each part is then put back to its own mode (frozen parts may differ from the rest)."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _array(tensor: Tensor) -> NDArray[Any]:
    tensor = tensor.detach().cpu()
    array: NDArray[Any] = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    return array
