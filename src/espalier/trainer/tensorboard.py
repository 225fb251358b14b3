"""Scalars for TensorBoard, where TensorBoard is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Board:
    """Writes the numbers of step and epoch events; writes nothing where TensorBoard is not installed."""

    def __init__(self, folder: Path, *, wanted: bool, from_step: int) -> None:
        self._writer: Any = None
        if wanted and importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=from_step)

    def write(self, values: Mapping[str, float | None], step: int) -> None:
        """Plot each value at this step; None is left out."""
        if self._writer is not None:
            for name, value in values.items():
                if value is not None:
                    self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush what is waiting."""
        if self._writer is not None:
            self._writer.close()
