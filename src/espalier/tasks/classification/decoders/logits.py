"""The raw output that every classification decoder starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.errors import ModelError, Problem


def logits_BC(outputs: Mapping[str, NDArray[Any]], classes: Sequence[str]) -> NDArray[np.float64]:
    """The output 'logits' (B, C) in float64. Raises ModelError when it is missing, misshapen or not finite."""
    if "logits" not in outputs:
        raise ModelError(
            Problem("", "the model gives no output 'logits'", f"it gives: {', '.join(outputs) or 'nothing'}")
        )
    values_BC = np.asarray(outputs["logits"], np.float64)
    if values_BC.ndim != 2 or values_BC.shape[1] != len(classes):
        raise ModelError(
            Problem("", f"output 'logits' has shape {values_BC.shape}", f"expected (batch, {len(classes)} classes)")
        )
    if not np.isfinite(values_BC).all():
        raise ModelError(
            Problem("", "the model's output 'logits' holds NaN or infinity", fix="train it anew, or verify the file")
        )
    return values_BC


def number(params: Mapping[str, Any], name: str, default: float, *, low: float, high: float) -> float:
    """A decode parameter within low…high. Raises ModelError when it is not."""
    value = params.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ModelError(
            Problem("decode.params", f"{name} is {value!r}", f"expected a number from {low:g} to {high:g}")
        )
    return float(value)
