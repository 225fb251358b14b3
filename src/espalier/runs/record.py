"""run.json: what a run is, what it ran on and how it ended."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

import espalier
from espalier.errors import ModelError, Problem

NAME = "run.json"
FORMAT_VERSION = 1
State = Literal["running", "done", "failed", "interrupted"]
PACKAGES = (
    "numpy",
    "pillow",
    "opencv-python-headless",
    "scipy",
    "onnxruntime",
    "pydantic",
    "torch",
    "torchvision",
    "timm",
    "lightning-fabric",
    "safetensors",
    "onnx",
    "onnxscript",
)


class RunRecord(BaseModel):
    """The content of run.json. `decisions` holds one object for each spec field that `resolve` filled in."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format_version: int = FORMAT_VERSION
    action: str
    name: str
    state: State = "running"
    started: str = ""
    ended: str | None = None
    resumed: int = 0
    versions: dict[str, str] = {}
    hardware: dict[str, Any] = {}
    seed: int | None = None
    data: dict[str, Any] = {}
    decisions: list[dict[str, Any]] = []
    parent: str | None = None
    result: dict[str, Any] = {}
    error: str | None = None


def read_record(folder: Path) -> RunRecord:
    """The record of the run in `folder`; raises ModelError when that is not a run, or one of a newer format."""
    path = folder / NAME
    try:
        raw = json.loads(path.read_bytes())
        record = RunRecord.model_validate(raw)
    except (FileNotFoundError, NotADirectoryError) as error:
        fix = "give the folder of a run, such as runs/train-001"
        raise ModelError(Problem(str(folder), "is not a run: there is no run.json in it", fix=fix)) from error
    except OSError as error:
        raise ModelError(Problem(str(path), f"can't be read: {error.strerror or error}")) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(Problem(str(path), f"is damaged: {_first_line(error)}", "a run's record")) from error
    if record.format_version != FORMAT_VERSION:
        what = f"has format version {record.format_version}"
        fix = "open it with the Espalier that wrote it, or a newer one"
        raise ModelError(Problem(str(path), what, f"version {FORMAT_VERSION}", fix))
    return record


def now() -> str:
    """The time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Espalier's, Python's and the installed packages' versions, told without importing them."""
    found = {"espalier": espalier.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """The machine, as far as it can be told without PyTorch. No host or user name: a run may be shown to others."""
    return {"system": platform.system(), "machine": platform.machine(), "cpus": cpus(), "memory_mb": memory_mb()}


def cpus() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_mb() -> int | None:
    """Memory of the machine in MB, or None where the system does not tell."""
    try:
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6)
    except (AttributeError, ValueError, OSError):
        return None


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
