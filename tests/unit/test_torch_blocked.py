"""Every torch-free room imports where nothing of the [train] extra is installed, and loads none of it where it is."""

from __future__ import annotations

import json
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

import espalier
from espalier.actions import ACTIONS

SOURCE = Path(espalier.__file__).parents[1]

NEEDS_TORCH = (
    "espalier.layers.*",
    "espalier.exporter.*",
    "espalier.explainer.features",
    "espalier.explainer.gradcam",
    "espalier.explainer.layers",
    "espalier.explainer.rollout",
    "espalier.trainer.*",
    "espalier.data.loader",
    "espalier.backbones.adoption",
    "espalier.backbones.backbone",
    "espalier.backbones.official",
    "espalier.backbones.conversion",
    "espalier.backbones.families.*.*",
    "espalier.backbones.weights.foreign",
    "espalier.networks.detector",
    "espalier.networks.object_queries",
    "espalier.networks.published",
    "espalier.networks.*.denoising",
    "espalier.networks.*.official",
    "espalier.networks.*.model",
    "espalier.networks.*.loss",
    "espalier.networks.*.probe",
)
"""The rooms, and parts of rooms, that are torch's. Whatever else there is must do without."""

OF_TORCH_VERBS = "espalier.actions.*"
"""What serves only verbs with the extra 'train' may import torch at its top; the verbs without it are asked below."""

BLOCKED = ("torch", "torchvision", "timm", "lightning", "lightning_fabric", "safetensors", "onnx", "onnxscript")

PROGRAM = """
import importlib, importlib.abc, json, pkgutil, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked)", name=name)

sys.meta_path.insert(0, Blocked())
import espalier
failed = {{}}
for name in {names}:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        failed[name] = str(error)
print(json.dumps(failed))
"""

ALL = "[m.name for m in pkgutil.walk_packages(espalier.__path__, 'espalier.', onerror=lambda name: None)]"


def failures(names: str) -> dict[str, str]:
    """Module → why it could not be imported with the extra blocked."""
    program = PROGRAM.format(blocked=BLOCKED, names=names)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(SOURCE)}
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def failed() -> dict[str, str]:
    return failures(ALL)


def test_torch_free_rooms_import_without_torch(failed):
    allowed = (*NEEDS_TORCH, OF_TORCH_VERBS)
    wrong = {name: why for name, why in failed.items() if not any(fnmatchcase(name, rule) for rule in allowed)}
    assert wrong == {}


def test_the_blocker_blocks(failed):
    assert "espalier.layers.model" in failed
    assert "espalier.exporter.onnx" in failed


def test_verbs_that_need_no_extra_import_without_torch():
    modules = [action.run.partition(":")[0] for action in ACTIONS if action.extra is None]
    assert "espalier.actions.predict" in modules
    assert failures(repr([*modules, "espalier.actions.api", "espalier.actions.models", "espalier.runtime.model"])) == {}


def test_cards_import_without_torch():
    from espalier.networks import registry

    names = [f"espalier.networks.{name}" for name in registry.names()]
    assert failures(repr([*names, "espalier.networks.registry"])) == {}


def test_predicting_loads_no_torch_where_it_is_installed():
    program = (
        "import sys, espalier.actions.predict, espalier.actions.verify, espalier.runtime.backends.onnxruntime\n"
        f"print(sorted(set({BLOCKED!r}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(SOURCE)}
    )
    assert done.stdout.strip() == "[]"


def test_the_houses_encoders_are_known_without_torch():
    program = PROGRAM.format(blocked=BLOCKED, names="['espalier.backbones.registry']") + (
        "from espalier import backbones\n"
        "from espalier.backbones import registry\n"
        "from espalier.backbones.family import HouseFamily\n"
        "from espalier.backbones.weights import records\n"
        "house = [f for f in registry.families() if isinstance(f, HouseFamily)]\n"
        "known = {n: backbones.describe(n).params for f in house for n in f.names()}\n"
        "assert all(registry.published(r.backbone) for rs in records.official().values() for r in rs)\n"
        f"print(sorted(known), sorted(set({BLOCKED!r}) & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(SOURCE)}
    )
    assert "'fan_tiny_8_p4_hybrid'" in done.stdout
    assert done.stdout.rstrip().endswith("] []")
