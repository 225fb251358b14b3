"""What several files' tests share: a detector trained once, and an environment without PyTorch.

That environment holds the wheel and what the base install names, nothing more; it is made without a network.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from tests.e2e.objects import detector_spec, draw_objects

import espalier

ROOT = Path(__file__).parents[2]


def base_distributions() -> dict[str, metadata.Distribution]:
    """The distributions that `pip install espalier-vision` without extras would bring, as they are installed here."""
    wanted = [Requirement(r) for r in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]]
    found: dict[str, metadata.Distribution] = {}
    while wanted:
        requirement = wanted.pop()
        if requirement.name.lower() in found or not _applies(requirement):
            continue
        distribution = metadata.distribution(requirement.name)
        found[requirement.name.lower()] = distribution
        wanted.extend(Requirement(r) for r in distribution.requires or ())
    return found


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _top_level(distribution: metadata.Distribution) -> Iterator[Path]:
    """The folders and files of a distribution right below site-packages."""
    parts = {file.parts[0] for file in distribution.files or () if file.parts[0] != ".."}
    return (Path(str(distribution.locate_file(part))) for part in sorted(parts))


@pytest.fixture(scope="session")
def base_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the built wheel and the base dependencies (links to the ones here)."""
    folder = tmp_path_factory.mktemp("base")
    wheels = folder / "wheel"
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    venv.create(folder / "venv", with_pip=False)
    python = next(
        p for p in (folder / "venv" / "bin" / "python", folder / "venv" / "Scripts" / "python.exe") if p.exists()
    )
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
    for distribution in base_distributions().values():
        for path in _top_level(distribution):
            if not (site / path.name).exists() and path.exists():
                (site / path.name).symlink_to(path)
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    return python


# ---- a detector ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red and blue rectangles in `train`, `val` and `test`; not to be written to."""
    folder = tmp_path_factory.mktemp("boxes")
    draw_objects(folder / "train", count=16, seed=1)
    draw_objects(folder / "val", count=6, empty=1, seed=2)
    draw_objects(folder / "test", count=6, empty=1, seed=3)
    return folder


@pytest.fixture(scope="session")
def detector(boxes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a tiny DINO that learnt these boxes."""
    run = tmp_path_factory.mktemp("runs") / "detector"
    espalier.train(detector_spec(boxes), out=run, progress=False)
    return run


@pytest.fixture(scope="session")
def deployed(detector: Path) -> Path:
    """Its bundle, exported for inputs of any size: half a minute, since a detector's graph is large."""
    out = detector.parent / "exported"
    espalier.export(detector, out=out, overrides={"export.dynamic_size": True}, progress=False)
    return out / "bundle"
