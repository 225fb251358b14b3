"""A model's bundle on corrupted pictures, by the command and without PyTorch; then its checkpoint against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import espalier
from espalier.errors import SpecError

pytestmark = pytest.mark.slow

SOURCE = Path(espalier.__file__).parents[1]
PROGRAM = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "timm", "safetensors", "onnx", "onnxscript"):
            raise ModuleNotFoundError(f"No module named {name!r} (blocked)", name=name)
sys.meta_path.insert(0, Blocked())
from espalier.cli import main
sys.exit(main())
"""
ASKED = {"evaluate.corruptions.which": ["noise", "fog", "saturate"], "evaluate.corruptions.severities": [1, 5]}


@pytest.fixture(scope="module")
def bundle(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("robust")
    spec = {
        "network": {"name": "classifier", "preset": "tiny", "backbone": {"weights": "none"},
                    "input": {"size_hw": [32, 32]}},
        "data": {"train": str(photos)},
        "train": {"epochs": 4, "batch_size": 8, "workers": 0, "device": "cpu", "lr": 0.003, "tensorboard": False},
    }  # fmt: skip
    espalier.train(spec, out=folder / "run", progress=False)
    espalier.export(folder / "run", out=folder / "exported", progress=False)
    return folder / "exported" / "bundle"


def overrides(values: dict[str, Any]) -> list[str]:
    return [f"{name}={json.dumps(value)}" for name, value in values.items()]


def test_a_bundle_under_corruptions_and_its_checkpoint_against_it(bundle: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    command = ["evaluate", str(bundle), str(photos), "--corruptions", "--out", str(out), "--json"]
    command += overrides({**ASKED, "evaluate.bootstrap": 50, "evaluate.corruptions.workers": 1})
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["corruptions"]
    assert found["conditions"]["kind"] == "bundle"
    assert len(found["each"]) == 5
    assert "retention" in done.stderr
    espalier.report(out, progress=False)
    assert "On corrupted pictures" in (out / "report.html").read_text("utf-8")

    again = espalier.evaluate(
        bundle.parents[1] / "run", photos, out=tmp_path / "checkpoint", progress=False,
        overrides={**ASKED, "evaluate.bootstrap": 50, "evaluate.corruptions.enabled": True,
                   "evaluate.corruptions.workers": 0, "evaluate.corruptions.baseline": str(out)},
    )["corruptions"]  # fmt: skip
    assert again["conditions"]["kind"] == "checkpoint"
    for name, one in again["each"].items():  # the graph is another one; the pictures are the very same
        assert one["scores"] == pytest.approx(found["each"][name]["scores"], abs=1 / 36 + 1e-9)
    assert again["mce"]["value"] == pytest.approx(1, abs=0.1)


def test_an_unknown_corruption_leaves_no_run_behind(bundle: Path, photos: Path, tmp_path: Path) -> None:
    wrong = {"evaluate.corruptions.enabled": True, "evaluate.corruptions.which": ["gausian_noise"]}
    with pytest.raises(SpecError, match="did you mean 'gaussian_noise'"):
        espalier.evaluate(bundle, photos, out=tmp_path / "no", progress=False, overrides=wrong)
    assert not (tmp_path / "no").exists()
