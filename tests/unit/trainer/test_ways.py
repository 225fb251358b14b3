"""What layers with several ways say of a device."""

from __future__ import annotations

import torch
from torch import nn

from espalier.layers.deformable_attention import DeformableAttention
from espalier.spec.training import TrainSpec
from espalier.trainer.ways import ways_of

MODEL = nn.Sequential(*(DeformableAttention(8, heads=2, levels=1, points=1) for _ in range(2)), nn.Linear(8, 8))


def test_a_kind_of_layer_is_told_of_once() -> None:
    assert ways_of(MODEL, torch.device("mps"), TrainSpec()) == [
        ("DeformableAttention", "standard operators", "the kernel is for CUDA, not for mps")
    ]
    assert ways_of(nn.Linear(1, 1), torch.device("mps"), TrainSpec()) == []
    assert ways_of(MODEL, torch.device("cpu"), TrainSpec()) == []


def test_a_compiled_model_has_standard_operators() -> None:
    (told,) = ways_of(MODEL, torch.device("cuda"), TrainSpec(compile=True))
    assert told[1] == "standard operators"
