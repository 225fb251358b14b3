"""A checkpoint becomes a bundle that runs where PyTorch can't be imported, byte for byte the same from anywhere."""

from __future__ import annotations

import csv
import getpass
import json
import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

import espalier
from espalier.actions.model_info import ModelInfo
from espalier.actions.models import lookup, open_model
from espalier.bundle.bundle import Bundle
from espalier.data.formats import read_index
from espalier.data.split import split
from espalier.errors import MissingExtraError, ModelError
from espalier.networks import registry
from espalier.networks.card import build
from espalier.spec.load import load_spec
from espalier.trainer.checkpoint import TrainerState, save_checkpoint

pytestmark = pytest.mark.slow

SOURCE = Path(espalier.__file__).parents[1]
CLASSES = ("bars", "disc", "plain")
INPUT = {"size_hw": [32, 32], "channels": "rgb", "bands": 3, "fit": "centre_crop", "resample": "pillow_bilinear",
         "crop_fraction": 0.9, "value_range": [0, 255], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}  # fmt: skip

BLOCKER = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "timm", "safetensors", "onnx", "onnxscript"):
            raise ModuleNotFoundError(f"No module named {name!r} (blocked)", name=name)
sys.meta_path.insert(0, Blocked())
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """A tiny classifier as training would leave it, with the paths of this machine in its spec."""
    network = {"name": "classifier", "preset": "tiny", "backbone": {"weights": "none"}, "multi_label": False,
               "input": INPUT}  # fmt: skip
    spec = load_spec({"network": network, "data": {"train": str(photos)}}, lookup=lookup)
    assert spec.network is not None
    card = registry.get("classifier")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(card, spec.network, CLASSES)
    index = read_index(str(photos))
    learnt = index.subset(split(index, spec.data.val_fraction, seed=spec.seed)[0])
    info = ModelInfo.of(card, spec, CLASSES, run="toy-001", data_fingerprint=learnt.fingerprint())
    folder = tmp_path_factory.mktemp("checkpoint") / "best"
    facts = {**info.to_json(), "figures": {"accuracy": 0.5}, "epoch": 3, "step": 9}
    save_checkpoint(folder, model.state_dict(), TrainerState({}, {}), facts)
    return folder


def espalier_command(
    *arguments: str, cwd: Path, blocked: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    program = (BLOCKER if blocked else "import sys\n") + "from espalier.cli import main\nsys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(SOURCE), **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same checkpoint exported twice, from two working folders with other homes and hash seeds."""
    runs = []
    for n, name in enumerate(("first", "a/second/place")):
        folder = tmp_path_factory.mktemp("work") / name
        folder.mkdir(parents=True)
        done = espalier_command(
            "export", str(checkpoint), "--out", "out", "--zip", cwd=folder,
            HOME=str(folder), PYTHONHASHSEED=str(n), XDG_CACHE_HOME=str(folder / "cache"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        runs.append(folder / "out")
    return runs


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_bytes_repeat_and_name_no_path_of_this_machine(exported, checkpoint, photos):
    first, second = (files(run / "bundle") for run in exported)
    assert first == second
    assert (exported[0] / "bundle.zip").read_bytes() == (exported[1] / "bundle.zip").read_bytes()
    here = {str(SOURCE), str(Path(torch.__file__).parents[1]), str(photos), str(checkpoint), str(exported[0]),
            str(exported[1]), str(Path.home()), str(Path.cwd()), "site-packages", ".py\"", "/tmp/"}  # fmt: skip
    here |= {word for word in (getpass.getuser(), socket.gethostname()) if len(word) > 5}
    for name, data in first.items():
        assert not [mark for mark in here if mark.encode() in data], name


def test_the_spec_travels_without_paths(exported, photos):
    spec: Any = json.loads((exported[0] / "bundle" / "bundle.json").read_text())["provenance"]["spec"]
    assert spec["data"]["train"] == photos.name
    assert spec["network"]["backbone"]["name"] == "timm/test_resnet.r160_in1k"


def test_what_was_proven(exported):
    artifact = Bundle.open(exported[0] / "bundle.zip").artifact()
    assert artifact.parity is not None
    assert artifact.metric is not None
    assert artifact.parity.error["logits"] < 1e-4
    assert artifact.metric.value == artifact.metric.reference
    result = json.loads((exported[0] / "run.json").read_text())
    assert result["parent"] == "toy-001"
    assert result["result"]["bundle"] == "bundle"


def test_verify_and_predict_without_torch(exported, photos, tmp_path):
    bundle = exported[0] / "bundle.zip"
    done = espalier_command("verify", str(bundle), cwd=tmp_path, blocked=True)
    assert done.returncode == 0, done.stderr
    done = espalier_command(
        "predict", str(bundle), str(photos / "disc"), "--out", "p", "--formats", "json,csv,pictures",
        cwd=tmp_path, blocked=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "p" / "predictions.json").read_text())
    assert len(said) == 12
    assert set(said[0]["scores"]) == set(CLASSES)
    assert sum(said[0]["scores"].values()) == pytest.approx(1, abs=1e-4)
    with (tmp_path / "p" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == [one["class"] for one in said]
    assert len(list((tmp_path / "p" / "drawn").iterdir())) == 12


def test_python_without_torch_says_what_the_checkpoint_says(exported, checkpoint, photos, tmp_path):
    program = BLOCKER + (
        "import espalier, json\n"
        f"found = espalier.load({str(exported[0] / 'bundle')!r}, device='cpu').predict({str(photos / 'bars')!r})\n"
        "print(json.dumps([p.score_C.tolist() for p in found]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True
    )
    from espalier.runtime.sources import expand

    model = open_model(checkpoint, device="cpu")
    queries = [source.read() for source in expand([photos / "bars"])]
    expected = [p.score_C.tolist() for p in model.predictor(batch_size=5)(queries)]
    for said, wanted in zip(json.loads(done.stdout), expected, strict=True):
        assert said == pytest.approx(wanted, abs=1e-5)


def test_the_wheel_in_an_environment_without_torch(base_python, exported, photos, tmp_path):
    """The base install alone verifies, predicts and evaluates a bundle; what needs more names its extra and exits 3."""

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = "import sys; from espalier.cli import main; sys.exit(main())"
        asked = [str(base_python), "-I", "-c", program, *arguments]
        return subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True)

    probe = "import importlib.util as u; print([m for m in ('torch', 'timm', 'onnx', 'safetensors') if u.find_spec(m)])"
    done = subprocess.run([str(base_python), "-I", "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    bundle = str(exported[0] / "bundle.zip")
    for arguments in (
        ("--version",),
        ("verify", bundle),
        ("predict", bundle, str(photos), "--out", "p", "--formats", "json,csv,pictures"),
        ("evaluate", bundle, str(photos), "--out", "e"),
        ("report", "e"),
    ):
        done = command(*arguments)
        assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "p" / "predictions.json").read_text())) == 36
    done = command("fit", str(photos))
    assert done.returncode == 3
    assert "pip install 'espalier-vision[train]'" in done.stderr


def test_a_run_without_torch_gives_its_bundle(exported, checkpoint, tmp_path, monkeypatch):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "best").symlink_to(checkpoint)
    (run / "bundle").symlink_to(exported[0] / "bundle")
    (run / "run.json").write_text("{}")
    assert open_model(run).kind == "checkpoint"
    assert open_model(run, backend="onnxruntime").kind == "bundle"
    monkeypatch.setattr("espalier.actions.models._has_torch", lambda: False)
    assert open_model(run).kind == "bundle"
    with pytest.raises(MissingExtraError, match=r"espalier-vision\[train\]"):
        open_model(checkpoint).predictor()


def test_bundles_are_not_torch_models(exported, checkpoint):
    with pytest.raises(ModelError, match="PyTorch does not run"):
        open_model(exported[0] / "bundle", backend="torch")
    with pytest.raises(ModelError, match="espalier export"):
        open_model(checkpoint, backend="onnxruntime")
    with pytest.raises(ModelError, match="holds no PyTorch weights"):
        open_model(exported[0] / "bundle").module()


def test_a_tampered_bundle_ends_with_exit_code_2(exported, tmp_path):
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(exported[0] / "bundle.zip") as good, zipfile.ZipFile(path, "w") as bad:
        for name in good.namelist():
            data = bytearray(good.read(name))
            if name == "model.onnx":
                data[-100] ^= 1
            bad.writestr(name, bytes(data))
    done = espalier_command("verify", str(path), cwd=tmp_path, blocked=True)
    assert done.returncode == 2
    assert "model.onnx: was changed" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_broken_picture_does_not_stop_the_others(exported, photos, tmp_path):
    good = (photos / "disc" / "000.png").read_bytes()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(good)
    (tmp_path / "in" / "b.png").write_bytes(good[:200])
    (tmp_path / "in" / "c.png").write_bytes(good)
    done = espalier_command("predict", str(exported[0] / "bundle"), "in", "--out", "p", cwd=tmp_path, blocked=True)
    assert done.returncode == 2
    assert "b.png" in done.stderr
    said = json.loads((tmp_path / "p" / "predictions.json").read_text())
    assert [Path(one["image"]).name for one in said] == ["a.png", "c.png", "b.png"]
    assert "error" in said[2]
    rows = list(csv.DictReader((tmp_path / "p" / "predictions.csv").open(newline="", encoding="utf-8")))
    assert [bool(row["error"]) for row in rows] == [False, False, True]


def test_a_checkpoint_that_is_damaged_is_told(checkpoint, tmp_path):
    import shutil

    copy = shutil.copytree(checkpoint, tmp_path / "best")
    (copy / "checkpoint.json").write_text('{"format_version": 1, "network": 3}')
    with pytest.raises(ModelError) as caught:
        open_model(copy)
    assert len(caught.value.problems) >= 4
    for text in ("[" * 100_000, "", "[]", '{"format_version": 9}'):
        (copy / "checkpoint.json").write_text(text)
        with pytest.raises(ModelError):
            open_model(copy)
    with pytest.raises(ModelError, match="no such model"):
        open_model(tmp_path / "nowhere")
