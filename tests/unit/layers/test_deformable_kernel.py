"""The fused kernel, run by Triton's interpreter on the CPU, and when it is used. Nothing here runs on a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from espalier.layers import deformable_attention_ways as ways
from espalier.layers.deformable_attention_standard import standard_attention

HERE = Path(__file__).parent
PARITY = HERE.parents[3] / "shared" / "parity"
CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.slow
def test_the_kernel_gives_what_standard_operators_give() -> None:
    pytest.importorskip("triton")
    command = [sys.executable, str(HERE / "interpreted_kernel.py")]
    if (PARITY / "deformable_attention_op.npz").exists():
        command.append(str(PARITY))
    settings = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert {name: error for name, error in told.items() if error > 1e-5} == {}


def wrong(value: Tensor, sizes_hw: object, places: Tensor, weights: Tensor) -> Tensor:
    return standard_attention(value, sizes_hw, places, weights) * 1.01  # type: ignore[arg-type]


def test_a_way_is_examined_with_its_gradients() -> None:
    assert ways.largest_error(standard_attention, CPU, torch.float32) < 1e-5
    assert ways.largest_error(wrong, CPU, torch.float32) == pytest.approx(0.01, rel=0.01)
    for kind in (torch.float16, torch.bfloat16):
        assert ways.largest_error(standard_attention, CPU, kind) < ways.TOLERANCE


def test_examining_leaves_chance_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even by a seed that is put back on the CPU: it would be that of every CUDA device, too."""
    before = torch.get_rng_state()
    monkeypatch.setattr(torch, "manual_seed", lambda seed: pytest.fail("the process's own chance was seeded"))
    ways.largest_error(standard_attention, CPU, torch.float32)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("kernel", "fused"), [(standard_attention, True), (wrong, False)])
def test_a_kernel_is_used_where_it_agrees(kernel: ways.Way, fused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "_kernel", lambda: kernel)
    monkeypatch.setattr(ways, "find_spec", lambda name: name)
    real = ways.largest_error
    monkeypatch.setattr(ways, "largest_error", lambda way, device, kind: real(way, CPU, kind))
    found = ways._examined(CUDA, torch.float32)
    assert found.fused is fused
    assert "differs from standard operators by" in found.reason


def test_a_kernel_that_fails_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object) -> Tensor:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(ways, "largest_error", broken)
    monkeypatch.setattr(ways, "_kernel", lambda: broken)
    monkeypatch.setattr(ways, "find_spec", lambda name: name)
    assert ways._examined(CUDA, torch.float32) == ways.Verdict(
        False, "the kernel did not run: RuntimeError: no such instruction"
    )
    monkeypatch.setattr(ways, "find_spec", lambda name: None)
    assert not ways._examined(CUDA, torch.float32).fused
    assert not ways._examined(torch.device("mps"), torch.float32).fused
