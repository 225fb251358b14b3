"""Weight files made on the spot, a cache for each test, and no network."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from espalier.backbones.weights import fetch, keep

ENCODER = "timm/test_resnet"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPALIER_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that would have been fetched; fetching fails."""
    asked: list[str] = []

    def refuse(source: str, folder: Path) -> fetch.Fetched:
        asked.append(source)
        raise fetch.ModelError(f"{source}: no network in tests")

    monkeypatch.setattr(keep.fetch, "fetch", refuse)
    return asked


def published(classes: int = 1000, *, seed: int = 0) -> dict[str, Tensor]:
    """The tensors that a publisher of the small encoder would ship, classifier included."""
    torch.manual_seed(seed)
    model = timm.create_model("test_resnet", num_classes=classes)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture
def weight_file(tmp_path: Path) -> Path:
    """The published tensors under their own names."""
    path = tmp_path / "test_resnet.safetensors"
    save_file(published(), path)
    return path
