"""Runs every benchmark of this folder, one after another and alone on the machine, and keeps what each printed.

    python benchmarks/run_all.py [NAME …]

What is worth keeping is copied by hand into benchmarks/README.md with its command, hardware and date.
"""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NO_BENCHMARK = {"run_all", "timing"}


def processor() -> str:
    """The processor's name, as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def main() -> int:
    """0 when every script ended well."""
    wanted = sys.argv[1:] or sorted(p.stem for p in HERE.glob("*.py") if p.stem not in NO_BENCHMARK)
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    failed = []
    for name in wanted:
        command = [sys.executable, str(HERE / f"{name}.py")]
        header = (
            f"# {name}: python benchmarks/{name}.py · {os.cpu_count()} cores, {processor()} · {datetime.date.today()}\n"
        )
        print(header, end="", flush=True)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(done.stdout if done.returncode == 0 else done.stdout + done.stderr, flush=True)
        (results / f"{name}.txt").write_text(header + done.stdout)
        failed += [name] if done.returncode else []
    print(f"failed: {', '.join(failed)}" if failed else "all benchmarks ran")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
