"""What decoders of every task ask of raw outputs and of their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.errors import ModelError, Problem


def output(outputs: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.float64]:
    """The output of that name in float64. Raises ModelError when it is missing or not finite."""
    if name not in outputs:
        raise ModelError(
            Problem("", f"the model gives no output '{name}'", f"it gives: {', '.join(outputs) or 'nothing'}")
        )
    values = np.asarray(outputs[name], np.float64)
    if not np.isfinite(values).all():
        raise ModelError(
            Problem("", f"the model's output '{name}' holds NaN or infinity", fix="train it anew, or verify the file")
        )
    return values


def number(params: Mapping[str, Any], name: str, default: float, *, low: float, high: float) -> float:
    """A decode parameter within low…high. Raises ModelError when it is not."""
    value = params.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ModelError(
            Problem("decode.params", f"{name} is {value!r}", f"expected a number from {low:g} to {high:g}")
        )
    return float(value)


def switch(params: Mapping[str, Any], name: str, default: bool) -> bool:
    """A decode parameter that is on or off. Raises ModelError when it is neither."""
    value = params.get(name, default)
    if not isinstance(value, bool):
        raise ModelError(Problem("decode.params", f"{name} is {value!r}", "expected true or false"))
    return value
