"""A real training process is killed again and again; resumed, it ends bit for bit like one that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import espalier

SPEC = """
name: killed
network:
  name: classifier
  preset: tiny
  backbone: {weights: none}
  dropout: 0.2
  input: {size_hw: [32, 32]}
data: {train: PHOTOS}
train:
  {epochs: 3, batch_size: 8, device: cpu, checkpoint_every_steps: 2, ema_decay: 0.9, accumulate: 1, lr: 0.003,
   tensorboard: false, augment: {mixup: 0.2, cutmix: 0.5, off_last_epochs: 1}}
evaluate: {bootstrap: 20, pictures: 0}
"""
TIMES = {"t", "images_per_s", "data_wait", "memory_mb", "eta_s"}
TIMED_RESULTS = {"seconds", "images_per_s", "data_wait"}
LONGEST_S = 240


def start(*arguments: str) -> subprocess.Popen[str]:
    source = str(Path(espalier.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "espalier", "train", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def events(run: Path) -> list[dict[str, Any]]:
    text = (run / "events.jsonl").read_text() if (run / "events.jsonl").exists() else ""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def stop_at(step: int, number: signal.Signals, process: subprocess.Popen[str], run: Path) -> int:
    """Send the signal as soon as the run tells of this step; the exit status."""
    began = time.monotonic()
    while max((e["step"] for e in events(run) if e["kind"] == "step"), default=0) < step:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() - began < LONGEST_S
        time.sleep(0.002)
    process.send_signal(number)
    process.communicate(timeout=LONGEST_S)
    return process.returncode


def metrics(run: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in e.items() if k not in TIMES} for e in events(run) if e["kind"] in ("step", "epoch")]


def result(run: Path) -> dict[str, Any]:
    told = json.loads((run / "run.json").read_text())
    assert told["state"] == "done"
    return {k: v for k, v in told["result"].items() if k not in TIMED_RESULTS}


def test_killed_and_resumed_ends_the_same(photos: Path, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.replace("PHOTOS", str(photos)))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    reference = start(str(spec), "--out", str(whole), "train.workers=0")
    output, _ = reference.communicate(timeout=LONGEST_S)
    assert reference.returncode == 0, output

    first = start(str(spec), "--out", str(killed), "train.workers=1")
    assert stop_at(1, signal.SIGKILL, first, killed) == -signal.SIGKILL  # most likely before any checkpoint
    assert stop_at(3, signal.SIGKILL, start("--resume", str(killed)), killed) == -signal.SIGKILL
    assert stop_at(5, signal.SIGINT, start("--resume", str(killed)), killed) == 130
    assert json.loads((killed / "run.json").read_text())["state"] == "interrupted"
    assert stop_at(8, signal.SIGKILL, start("--resume", str(killed)), killed) == -signal.SIGKILL
    espalier.train(resume=killed, progress=False)

    for name in ("best/model", "best/trainer", "last/model", "last/trainer"):
        path = f"checkpoints/{name}.safetensors"
        assert (whole / path).read_bytes() == (killed / path).read_bytes(), name
    assert metrics(whole) == metrics(killed)
    assert result(whole) == result(killed)
