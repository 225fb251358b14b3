"""Two processes under torchrun do what one does, copied (ddp) or sharded (fsdp), and resume exactly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import espalier
from espalier.trainer.checkpoint import load_checkpoint

SCRIPT = str(Path(__file__).with_name("several_devices.py"))


def train(folder: Path, strategy: str, *, processes: int = 2, stop: int = 0) -> int:
    """The exit status of a training by so many processes."""
    source = str(Path(espalier.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(launch if processes > 1 else []), SCRIPT, str(folder), strategy, str(stop)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0 or stop, done.stderr
    return done.returncode


def last(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = load_checkpoint(folder / "checkpoints/last")
    return {**checkpoint.model_state(), **checkpoint.trainer_state().tensors}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("alone")
    train(folder, "single", processes=1)
    return last(folder)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_do_what_one_does(strategy: str, alone: dict[str, torch.Tensor], tmp_path: Path) -> None:
    train(tmp_path / "whole", strategy)
    together = last(tmp_path / "whole")
    assert together.keys() == alone.keys()
    for name, tensor in together.items():
        torch.testing.assert_close(tensor, alone[name], atol=2e-4, rtol=2e-3, msg=name)
    assert train(tmp_path / "cut", strategy, stop=5) != 0
    train(tmp_path / "cut", strategy)
    again = last(tmp_path / "cut")
    assert all(torch.equal(again[name], tensor) for name, tensor in together.items())
