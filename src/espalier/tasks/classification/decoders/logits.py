"""The raw output that every classification decoder starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.errors import ModelError, Problem
from espalier.tasks.outputs import output


def logits_BC(outputs: Mapping[str, NDArray[Any]], classes: Sequence[str]) -> NDArray[np.float64]:
    """The output 'logits' (B, C) in float64. Raises ModelError when it is missing, misshapen or not finite."""
    values_BC = output(outputs, "logits")
    if values_BC.ndim != 2 or values_BC.shape[1] != len(classes):
        raise ModelError(
            Problem("", f"output 'logits' has shape {values_BC.shape}", f"expected (batch, {len(classes)} classes)")
        )
    return values_BC
