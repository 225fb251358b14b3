"""What benchmarks share that compare ways of the same work: taking turns, ratios, a fresh process's peak memory."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

CLOCKS: Mapping[str, Callable[[], float]] = {"cpu": time.process_time, "wall": time.perf_counter}
"""The processor's time, which other work on the machine changes little, and the clock's."""


def seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """Of one call."""
    start = clock()
    work()
    return clock() - start


def in_turns(
    ways: Mapping[str, Callable[[], object]], *, rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of each way, round by round; a first round, not counted, warms up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, work in ways.items():
            gc.collect()
            took = seconds(work, clock)
            if turn:
                times[name].append(took)
    return times


def ratio(taken: Sequence[float], others: Sequence[float]) -> float:
    """The median over the rounds of one way's time over another's in the same round."""
    return median(a / b for a, b in zip(taken, others, strict=True))


def child_says(script: str, arguments: Sequence[str]) -> float:
    """The number that the script prints in a fresh process."""
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def added_mb(work: Callable[[], object]) -> float:
    """The most memory that a call adds to what this process holds before it."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten: that of importing, or of the parent
    before = resident_mb("VmRSS")
    work()
    return resident_mb("VmHWM") - before


def resident_mb(key: str) -> float:
    """VmRSS what this process holds, VmHWM the most that it held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 1024
