"""`train` from a spec to a model: what it records, starts from, and refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import espalier
from espalier.actions.models import open_model
from espalier.errors import DataError, ModelError, SpecError
from espalier.runs.run import Run


def spec(photos: Path, **train: Any) -> dict[str, Any]:
    """A tiny classifier for a second or two of training."""
    return {
        "name": "tiny",
        "network": {
            "name": "classifier",
            "preset": "tiny",
            "backbone": {"weights": "none"},
            "input": {"size_hw": [32, 32]},
            "loss": {"class_weights": "balanced"},
        },
        "data": {"train": str(photos)},
        "train": {
            "epochs": 2,
            "batch_size": 8,
            "workers": 0,
            "device": "cpu",
            "lr": 0.003,
            "tensorboard": False,
            **train,
        },
        "evaluate": {"bootstrap": 20, "pictures": 1},
    }


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "first"
    espalier.train(spec(photos), out=folder, progress=False)
    return folder


def test_the_run_tells_everything(trained: Path) -> None:
    told = json.loads((trained / "run.json").read_text())
    assert told["state"] == "done"
    assert told["result"]["stopped"] == "epochs"
    assert told["result"]["figures"]["accuracy"]["low"] is not None
    assert told["data"]["train"] + told["data"]["val"] == 36
    assert {d["field"] for d in told["decisions"]} >= {"train.monitor", "data.classes", "network.loss.class_weights"}
    events = list(Run.open(trained).events())
    assert {event["kind"] for event in events} >= {"data", "decision", "step", "epoch", "checkpoint", "block", "end"}
    notes = [e["block"]["note"] for e in events if e["kind"] == "block" and e["block"]["kind"] == "headline"]
    assert any("the best epoch was chosen on these pictures" in note for note in notes)


def test_nothing_in_the_written_spec_is_auto(trained: Path) -> None:
    lines = (trained / "spec.yaml").read_text().splitlines()
    section = next(i for i, line in enumerate(lines) if line.startswith("train:"))
    ours = [line for line in lines[section:] if line.startswith("  ")]
    end = next((i for i, line in enumerate(lines[section + 1 :]) if line and not line.startswith((" ", "#"))), None)
    assert not [line for line in ours[:end] if line.partition("#")[0].rstrip().endswith(": auto")]


def test_a_checkpoint_folder_alone_is_a_model(trained: Path, photos: Path, tmp_path: Path) -> None:
    alone = shutil.copytree(trained / "checkpoints/best", tmp_path / "alone")
    model = open_model(alone, device="cpu")
    assert model.classes == ("bars", "disc", "plain")
    found = espalier.evaluate(alone, out=tmp_path / "scored", overrides={"evaluate": {"bootstrap": 0}}, progress=False)
    trained_figures = json.loads((trained / "run.json").read_text())["result"]["figures"]
    assert found["figures"]["accuracy"]["value"] == trained_figures["accuracy"]["value"]
    assert found["figures"]["log_loss"]["value"] == pytest.approx(trained_figures["log_loss"]["value"], rel=1e-6)


def test_starting_from_a_model_of_other_classes(trained: Path, photos: Path, tmp_path: Path) -> None:
    two = tmp_path / "two"
    for name in ("disc", "plain"):
        shutil.copytree(photos / name, two / name)
    given = spec(two, start_from=str(trained), freeze=["backbone"], epochs=1)
    out = tmp_path / "next"
    espalier.train(given, out=out, progress=False)
    assert json.loads((out / "run.json").read_text())["parent"] == str(trained)
    old = open_model(trained, device="cpu").module().state_dict()
    new = open_model(out, device="cpu").module().state_dict()
    assert all(torch.equal(old[n], new[n]) for n in new if n.startswith("backbone."))
    assert new["head.1.weight"].shape[0] == 2


def test_starting_from_another_network_is_refused(trained: Path, photos: Path, tmp_path: Path) -> None:
    given = spec(photos, start_from=str(trained))
    given["network"]["hidden"] = 7
    with pytest.raises(ModelError, match=r"does not fit this network: head"):
        espalier.train(given, out=tmp_path / "x", progress=False)


def test_an_unknown_figure_is_refused_before_an_epoch_is_spent(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no 'acuracy'(.|\n)*accuracy"):
        espalier.train(spec(photos, monitor="acuracy"), out=tmp_path / "x", progress=False)
    assert not (tmp_path / "x/checkpoints").exists()


def test_less_is_better_for_an_error(photos: Path, tmp_path: Path) -> None:
    found = espalier.train(spec(photos, monitor="log_loss", epochs=3), out=tmp_path / "x", progress=False)
    losses = {e["epoch"]: e["figures"]["log_loss"] for e in Run.open(tmp_path / "x").events() if e["kind"] == "epoch"}
    assert found["best_epoch"] == min(losses, key=losses.__getitem__)


def test_resuming_on_other_data_is_refused(trained: Path, photos: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    moved = shutil.copytree(photos, tmp_path / "moved")
    Image.new("RGB", (48, 48)).save(moved / "disc" / "extra.png")
    with pytest.raises(DataError, match="not those that this run began with"):
        espalier.train(resume=run, overrides={"data": {"train": str(moved)}}, progress=False)


def test_a_finished_run_stays_as_it_is(trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    before = (run / "checkpoints/last/model.safetensors").read_bytes()
    espalier.train(resume=run, progress=False)
    assert (run / "checkpoints/last/model.safetensors").read_bytes() == before
    more = espalier.train(resume=run, overrides={"train": {"epochs": 3}}, progress=False)
    assert more["epochs"] == 3


def test_no_data_is_told(tmp_path: Path, photos: Path) -> None:
    given = spec(photos)
    del given["data"]
    with pytest.raises(SpecError, match=r"data\.train"):
        espalier.train(given, out=tmp_path / "x", progress=False)
