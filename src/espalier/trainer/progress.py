"""What is measured while training: losses over a window, time spent working and waiting, the rate and what is left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


class Means:
    """Means of named losses since the last reset, summed in float64 where they are made (no wait for the device)."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Count one optimiser step's losses."""
        for name, loss in losses.items():
            value = loss.detach().double() if loss.device.type != "mps" else loss.detach()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.count += 1

    def means(self) -> dict[str, float]:
        """Mean of each loss; empty when nothing was added. Waits for the device once."""
        if not self.sums:
            return {}
        values = torch.stack(list(self.sums.values())).tolist()
        return {name: value / self.count for name, value in zip(self.sums, values, strict=True)}

    def reset(self) -> None:
        """Begin a new window."""
        self.sums, self.count = {}, 0

    def to_json(self) -> dict[str, Any]:
        """The window as JSON values, which hold a float64 exactly."""
        return {"count": self.count, "sums": {name: value.item() for name, value in self.sums.items()}}

    def from_json(self, saved: Mapping[str, Any], device: torch.device) -> None:
        """Go on with a window that was saved."""
        kind = torch.float32 if device.type == "mps" else torch.float64
        self.count = int(saved["count"])
        self.sums = {name: torch.tensor(v, dtype=kind, device=device) for name, v in saved["sums"].items()}


@dataclass
class Stopwatch:
    """Seconds of this run, sessions before a resume included, and how they were spent."""

    before_s: float = 0.0  # spent in earlier sessions
    started: float = field(default_factory=time.perf_counter)
    images: int = 0  # of this session, and likewise below
    waited_s: float = 0.0  # for data
    stepping_s: float = 0.0  # in steps, waiting included
    evaluating_s: float = 0.0  # the last validation

    @property
    def spent_s(self) -> float:
        """Wall-clock seconds of the whole run."""
        return self.before_s + time.perf_counter() - self.started

    @property
    def images_per_s(self) -> float:
        """Pictures trained on in a second of stepping."""
        return self.images / self.stepping_s if self.stepping_s else 0.0

    @property
    def data_wait(self) -> float:
        """Share of the stepping time in which the loop had no batch to work on."""
        return self.waited_s / self.stepping_s if self.stepping_s else 0.0

    def eta_s(self, steps_done: int, steps_left: int) -> float | None:
        """Seconds left at this session's pace, which includes validation; None before the first step."""
        elapsed = time.perf_counter() - self.started
        return elapsed / steps_done * steps_left if steps_done else None
