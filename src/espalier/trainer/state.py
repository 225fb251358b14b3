"""The trainer's state as named tensors and JSON values, and back: optimiser, averaged weights, gradient scaler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from espalier.errors import ModelError, Problem
from espalier.trainer.sharding import copy_whole, whole


def pack_optimiser(model: nn.Module, optimiser: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, values) by 'parameter name/key', whole. Rates, decays and momenta come from the spec."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for name, parameter in model.named_parameters():
        for key, item in optimiser.state.get(parameter, {}).items():
            if isinstance(item, Tensor):
                tensors[f"{name}/{key}"] = whole(item)
            elif item is not None:
                values[f"{name}/{key}"] = item
    return tensors, values


def unpack_optimiser(
    model: nn.Module, optimiser: Optimizer, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
) -> None:
    """Give the optimiser its state back. Raises ModelError for a state of other parameters or shapes."""
    parameters = dict(model.named_parameters())
    for path, item in (*tensors.items(), *values.items()):
        name, _, key = path.rpartition("/")
        parameter = parameters.get(name)
        if parameter is None:
            raise ModelError(Problem("trainer state", f"it holds '{path}', and the model has no such parameter"))
        optimiser.state[parameter][key] = _like(item, parameter, path) if isinstance(item, Tensor) else item


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under 'prefix:name'."""
    return {f"{prefix}:{name}": tensor for name, tensor in tensors.items()}


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that `prefixed` put under this prefix, by their own names."""
    start = f"{prefix}:"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _like(loaded: Tensor, parameter: Tensor, path: str) -> Tensor:
    """Moments get the parameter's device and memory layout (fused steps rely on both); step counters stay as saved."""
    if loaded.ndim == 0:
        return loaded.clone()
    if loaded.shape != parameter.shape:
        raise ModelError(
            Problem(
                "trainer state",
                f"'{path}' has the shape {tuple(loaded.shape)}",
                f"the parameter has {tuple(parameter.shape)}",
            )
        )
    moment = torch.empty_like(parameter, dtype=loaded.dtype)
    copy_whole(moment, loaded)
    return moment
