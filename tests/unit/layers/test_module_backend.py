"""A module as a backend: evaluation mode inside, its own mode afterwards."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from espalier.layers.model import TrainableModel
from espalier.layers.module_backend import ModuleBackend


class Small(TrainableModel):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        return {"y": self.drop(self.norm(x)), "most": x.argmax(dim=1)}


def test_runs_in_evaluation_mode_and_puts_every_part_back() -> None:
    model = Small().train()
    model.norm.eval()  # a frozen part
    x = np.array([[1, 2, 3], [6, 5, 4]], np.float32)
    outputs = ModuleBackend(model).run({"x": x})
    np.testing.assert_allclose(outputs["y"], x / np.sqrt(1 + 1e-5), rtol=1e-6)
    assert outputs["most"].tolist() == [2, 0]
    assert (model.training, model.norm.training, model.drop.training) == (True, False, True)


def test_takes_arrays_that_are_not_contiguous() -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2].T
    assert ModuleBackend(Small()).run({"x": np.asarray(x)})["y"].shape == (2, 3)


def test_gives_float32_from_bf16() -> None:
    model = nn.Sequential(nn.Linear(3, 2))

    class Wrapped(TrainableModel):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
            return {"y": self.inner(x)}

    x = np.ones((2, 3), np.float32)
    half = ModuleBackend(Wrapped(), precision="bf16").run({"x": x})["y"]
    full = ModuleBackend(Wrapped()).run({"x": x})["y"]
    assert half.dtype == np.float32
    assert not torch.is_grad_enabled() or np.abs(half - full).max() < 0.02
