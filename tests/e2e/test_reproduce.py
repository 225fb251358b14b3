"""`reproduce` on a folder that looks like COCO 2017 and holds six pictures."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import espalier
from espalier.errors import DataError, ModelError, UsageError
from espalier.networks import registry
from espalier.networks.coco_names import NAMES
from espalier.networks.dino.official import FAMILY
from espalier.networks.published_results import PublishedResult
from espalier.runs.run import Run

SMALL = {
    "backbone": {"name": "timm/resnet50", "weights": "none"},
    "levels": 2, "finest_stride": 16, "queries": 20, "width": 32, "hidden": 32, "heads": 8, "encoder_points": 2,
    "decoder_points": 2, "encoder_layers": 1, "decoder_layers": 1, "freeze_batch_norm": True,
    "denoising": {"queries": 5}, "query_content": "learnt",
}  # fmt: skip
TRAIN = {"batch_size": 2, "epochs": 1, "lr": 1e-4, "workers": 0, "tensorboard": False, "augment": {"scale": [1, 1]}}
RESULT = PublishedResult(
    preset="tiny",
    layout="coco2017",
    rows=91,
    step_pictures=4,
    spec={"network": SMALL, "train": TRAIN},
    decode={"top": 30, "clip": False, "threshold": 0.0},
    figures={"map": 12.5, "ap_small": 1.5},
    source="a table",
    checkpoint="small.pth, from the authors",
    notes=("the weather",),
)
TINY = replace(RESULT, spec={"train": TRAIN})
QUICK = {"evaluate.bootstrap": 20, "evaluate.pictures": 0}


@pytest.fixture(autouse=True)
def _published(monkeypatch: pytest.MonkeyPatch) -> None:
    real, own = registry.get, {"small": RESULT, "tiny": TINY}
    monkeypatch.setattr(registry, "get", lambda name: replace(real(name), published=own if name == "dino" else {}))


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures to train on, two to validate on, in COCO's layout."""
    folder, rng = tmp_path_factory.mktemp("coco"), np.random.default_rng(0)
    (folder / "annotations").mkdir()
    (folder / "annotations" / "captions_val2017.json").write_text("{}")
    categories = [{"id": number, "name": name} for number, name in NAMES.items()]
    for part, count in (("train2017", 4), ("val2017", 2)):
        (folder / part).mkdir()
        images, boxes = [], []
        for n in range(1, count + 1):
            Image.fromarray(rng.integers(0, 255, (72, 96, 3), np.uint8)).save(folder / part / f"{n:012d}.jpg")
            images.append({"id": n, "file_name": f"{n:012d}.jpg", "width": 96, "height": 72})
            boxes.append({"id": n, "image_id": n, "category_id": 90, "bbox": [5, 5, 30, 30], "area": 900, "iscrowd": 0})
        document = {"images": images, "annotations": boxes, "categories": categories}
        (folder / "annotations" / f"instances_{part}.json").write_text(json.dumps(document))
    return folder


def official(path: Path, **changed: Any) -> Path:
    """A file with the names and the arguments of the authors' code, with random weights."""
    torch.manual_seed(0)
    spec = FAMILY.spec({**SMALL, **changed, "input": {"channels": "rgb", "bands": 3}})
    state = FAMILY.build(spec, RESULT.classes).state_dict()
    named = {
        published: tensor
        for own, tensor in state.items()
        for published in FAMILY.names(own, spec, "original")
    }  # fmt: skip
    torch.save({"model": named}, path)
    return path


def said(run: Path) -> str:
    return "\n".join(str(event.get("text", "")) for event in Run.open(run).events())


def test_what_did_not_run_says_why(coco: Path, tmp_path: Path) -> None:
    found = espalier.reproduce("small", out=tmp_path / "a", progress=False)
    assert (found["published"], found["ours"]) == ({"map": 12.5, "ap_small": 1.5}, None)
    assert found["not_run"].startswith("not run here: no data")
    text = said(tmp_path / "a")
    assert "map       12.5       not run here" in text
    assert "published: a table" in text
    assert "maxDets: 1, 10, 100 of them are matched" in text
    assert "resize: " in text
    assert "not as published: the weather" in text
    found = espalier.reproduce("small", coco=coco, eval_only=True, out=tmp_path / "b", progress=False)
    assert "small.pth, from the authors" in found["not_run"]
    if not torch.cuda.is_available():
        found = espalier.reproduce("small", coco=coco, out=tmp_path / "c", progress=False)
        assert "no accelerator for 1 epochs of COCO 2017" in found["not_run"]


def test_a_folder_that_is_not_coco(coco: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    shutil.copytree(coco, part)
    shutil.rmtree(part / "val2017")
    with pytest.raises(
        DataError, match=r"it has no val2017\n  expected annotations/instances_train2017.json, train2017"
    ):
        espalier.reproduce("small", coco=part, out=tmp_path / "run", progress=False)
    with pytest.raises(UsageError, match="one of: small, tiny"):
        espalier.reproduce("large", coco=coco, out=tmp_path / "run2", progress=False)


@pytest.mark.slow
def test_the_authors_file(coco: Path, tmp_path: Path) -> None:
    file, one = official(tmp_path / "small.pth"), {"reproduce.pictures": 1, **QUICK}
    run = tmp_path / "run"
    found = espalier.reproduce("small", coco=coco, weights=file, eval_only=True, out=run, overrides=one, progress=False)
    assert found["not_run"] is None
    assert (found["ours"]["pictures"], found["ours"]["of"]) == (1, 5000)
    assert 0 <= found["ours"]["figures"]["map"]["value"] < 0.5
    text = said(run)
    assert "1 pictures are scored where the published figures are of 5,000" in text
    assert "not comparable" in text


@pytest.mark.slow
def test_the_file_of_another_model(coco: Path, tmp_path: Path) -> None:
    file = official(tmp_path / "other.pth", hidden=64)
    with pytest.raises(ModelError, match=r"is not small: network.hidden: 64, published: 32"):
        espalier.reproduce("small", coco=coco, weights=file, eval_only=True, out=tmp_path / "run", progress=False)


@pytest.mark.slow
def test_a_training(coco: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    wishes = {"train.device": "cpu", "train.lr": 0.001, **QUICK}
    found = espalier.reproduce("tiny", coco=coco, out=run, overrides=wishes, progress=False)
    assert found["ours"]["pictures"] == 2
    assert found["changed"] == ["train.lr: 0.0001 → 0.001"]
    assert len(Run.open(run).record.result) > 0
    kept = (run / "spec.yaml").read_text()
    assert "accumulate: 2" in kept
    assert "toothbrush" in kept
