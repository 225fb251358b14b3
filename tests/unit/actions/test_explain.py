"""`explain` from end to end on a tiny classifier: as a checkpoint, and as a bundle where torch can't be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import espalier
from espalier.actions import explain
from espalier.actions.api import call
from espalier.actions.explain_blocks import alike, mean_figure
from espalier.actions.explained import Panel, Side
from espalier.actions.model_info import ModelInfo
from espalier.actions.models import is_model, lookup
from espalier.cli import main
from espalier.data.formats import read_index
from espalier.data.split import split
from espalier.errors import InputError, ModelError, Problem, SpecError, UsageError
from espalier.explainer.faith import Faith
from espalier.networks import registry
from espalier.networks.card import build
from espalier.spec.load import load_spec
from espalier.spec.verbs import ExplainSpec
from espalier.tasks.base import Answer, ExplainTarget
from espalier.tasks.detection import TASK as DETECTION
from espalier.trainer.checkpoint import TrainerState, save_checkpoint
from espalier.vision.geometry import Geometry

CLASSES = ("bars", "disc", "plain")
INPUT = {"size_hw": [32, 32], "channels": "rgb", "bands": 3, "fit": "centre_crop", "resample": "pillow_bilinear",
         "crop_fraction": 0.9, "value_range": [0, 255], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}  # fmt: skip
QUICK = {"explain.masks": 8, "explain.cells": 3, "explain.steps": 3, "explain.random_maps": 2}
WORDS = [f"{name}={value}" for name, value in QUICK.items()]


def checkpoint_of(folder: Path, photos: Path, *, classes: tuple[str, ...] = CLASSES, seed: int = 0) -> Path:
    network = {"name": "classifier", "preset": "tiny", "backbone": {"weights": "none"}, "multi_label": False,
               "input": INPUT}  # fmt: skip
    spec = load_spec({"network": network, "data": {"train": str(photos)}}, lookup=lookup)
    assert spec.network is not None
    card = registry.get("classifier")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(card, spec.network, classes)
    index = read_index(str(photos))
    learnt = index.subset(split(index, spec.data.val_fraction, seed=spec.seed)[0])
    info = ModelInfo.of(card, spec, classes, run=f"toy-{seed:03d}", data_fingerprint=learnt.fingerprint())
    save_checkpoint(folder, model.state_dict(), TrainerState({}, {}), {**info.to_json(), "epoch": 1, "step": 1})
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    return checkpoint_of(tmp_path_factory.mktemp("toy") / "best", photos)


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "run"
    call("export", {"export.model": str(checkpoint)}, out=out, overrides={"export.zip": True})
    return out / "bundle.zip"


@pytest.fixture(scope="module")
def explained(checkpoint: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("explained") / "run"
    images = [str(photos / "disc" / "000.png"), str(photos / "bars" / "001.png")]
    result = espalier.explain(str(checkpoint), images=images, out=out, overrides=QUICK, progress=False)
    assert result["pictures"] == 2
    assert set(result["better_than_random_by"]) == {"gradcam", "rise"}
    return out


def records(run: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((run / "explanations.json").read_text())
    return found


def test_each_map_has_its_files_and_scores(explained):
    assert len(records(explained)) == 4
    for record in records(explained):
        assert record["kind"] in ("gradcam", "rise")
        assert record["target"] in CLASSES
        for name in ("insertion", "deletion", "random_insertion", "random_deletion", "score"):
            assert 0 <= record[name] <= 1, name
        gain = record["insertion"] - record["deletion"] - record["random_insertion"] + record["random_deletion"]
        assert record["better_than_random_by"] == pytest.approx(gain, abs=1e-5)
        assert Image.open(explained / record["overlay"]).mode == "RGB"


def test_arrays_lie_in_the_pictures_own_pixels_and_say_what_was_not_seen(explained, photos):
    arrays = np.load(explained / records(explained)[0]["arrays"])
    width, height = Image.open(photos / "disc" / "000.png").size
    assert set(arrays.files) == {"gradcam", "rise"}
    for name in arrays.files:
        assert arrays[name].shape == (height, width)
        assert arrays[name].dtype == np.float32
        assert np.isnan(arrays[name][0, 0])  # outside of the crop
        assert np.isfinite(arrays[name][height // 2, width // 2])


def test_the_page_shows_the_maps(explained):
    page = (explained / "report.html").read_text()
    for words in (
        "Can the maps be trusted?",
        "Each kind of map",
        "Grad-CAM",
        "RISE",
        "How to read the maps",
        "000.png",
    ):
        assert words in page
    assert page.count("data:image/jpeg") == 6  # two pictures and two maps of each


def test_the_same_seed_gives_the_same_maps(explained, checkpoint, photos, tmp_path):
    call("explain", {"explain.models": [str(checkpoint)], "explain.images": [str(photos / "disc" / "000.png")]},
         out=tmp_path / "again", overrides=QUICK)  # fmt: skip
    first, again = (np.load(run / records(run)[0]["arrays"]) for run in (explained, tmp_path / "again"))
    assert all(np.array_equal(first[name], again[name], equal_nan=True) for name in first.files)


def test_without_pictures_some_that_were_kept_from_training(checkpoint, tmp_path):
    wanted = {**QUICK, "explain.maps": ["rise"], "explain.pictures": 3, "explain.formats": []}
    call("explain", {"explain.models": [str(checkpoint)]}, out=tmp_path / "run", overrides=wanted)
    found = records(tmp_path / "run")
    assert len({record["image"] for record in found}) == 3
    assert any("said" in record["note"] for record in found)  # a random network makes mistakes
    assert not (tmp_path / "run" / "maps").exists()
    assert not (tmp_path / "run" / "arrays").exists()


def test_two_models_side_by_side_clean_and_corrupted(checkpoint, photos, tmp_path, capsys):
    other = checkpoint_of(tmp_path / "other", photos, classes=("plain", "disc", "bars"), seed=1)
    image = str(photos / "disc" / "000.png")
    out = tmp_path / "run"
    assert main(["explain", str(checkpoint), image, str(other), "--corruption", "noise:3", "--out", str(out),
                 "--maps", "gradcam", "--targets", "disc", "--quiet", *WORDS]) == 0  # fmt: skip
    found = records(out)
    sides = {(record["letter"], record["condition"]) for record in found}
    assert sides == {(letter, word) for letter in "AB" for word in ("clean", "gaussian_noise:3")}
    assert {record["target"] for record in found} == {"disc"}  # by name: the classes lie in another order
    page = (out / "report.html").read_text()
    assert "How alike the maps are to those of A, clean" in page
    assert "B, gaussian_noise:3" in page


def test_targets_by_name_and_id_and_features_of_a_layer(checkpoint, photos, tmp_path):
    layer = "backbone.body.layer3"
    wanted = {
        **QUICK,
        "explain.targets": ["bars", "2"],
        "explain.layer": layer,
        "explain.maps": ["features", "gradcam"],
    }
    values = {"explain.models": [str(checkpoint)], "explain.images": [str(photos / "disc" / "000.png")]}
    call("explain", values, out=tmp_path / "run", overrides=wanted)
    found = records(tmp_path / "run")
    assert [(r["target"], r["kind"], r["layer"]) for r in found] == [
        (name, kind, layer) for name in ("bars", "plain") for kind in ("features", "gradcam")
    ]
    arrays = np.load(tmp_path / "run" / found[0]["arrays"])
    assert arrays["features_layer"].ndim == 3
    assert len(list((tmp_path / "run" / "maps").glob("*-features-colours.png"))) == 2


def test_targets_whose_names_look_alike_have_their_own_files(photos, tmp_path):
    classes = ("M3 1.5 mm", "m3 1.6 mm", "M3 1.5/mm")
    model = checkpoint_of(tmp_path / "model", photos, classes=classes)
    values = {"explain.models": [str(model)], "explain.images": [str(photos / "disc" / "000.png")]}
    wanted = {**QUICK, "explain.maps": ["rise"], "explain.targets": [*classes, "0"]}
    call("explain", values, out=tmp_path / "run", overrides=wanted)
    found = records(tmp_path / "run")
    assert [record["target"] for record in found] == list(classes)  # class 0 was asked for twice, and is shown once
    for word in ("overlay", "arrays"):
        assert len({record[word].lower() for record in found}) == 3
        assert all((tmp_path / "run" / record[word]).is_file() for record in found)


def test_what_only_one_model_says_is_told_by_that_model(checkpoint, photos, tmp_path):
    other = checkpoint_of(tmp_path / "other", photos, classes=("crown", "ground", "sky"))
    values = {"explain.models": [str(checkpoint), str(other)], "explain.images": [str(photos / "disc" / "000.png")]}
    with pytest.raises(
        UsageError, match=r"of B, clean \(toy-000\): .* nothing that could be explained\n.*crown, ground"
    ):
        call("explain", values, out=tmp_path / "run", overrides={**QUICK, "explain.maps": ["rise"]})


class Finder:
    """A task whose answer is a list of words: it explains those that are in it."""

    @staticmethod
    def explain_targets(answer: Any, asked: Any, classes: Any) -> list[ExplainTarget]:
        if any(word not in answer for word in asked):
            raise UsageError("there is no such thing here")
        return [ExplainTarget(word, word, lambda *_: np.zeros(1), lambda *_: 0) for word in asked or answer[:1]]


def test_what_a_corruption_lost_is_still_explained():
    model, side = SimpleNamespace(task=Finder, classes=()), Side("B", "toy", "fog:5")

    def found(answer: list[str], clean: Any, *, lost: bool = True) -> list[str]:
        view: Any = SimpleNamespace(answer=answer)
        return [target.words for target in explain._same(model, side, view, clean, lost=lost)[0]]

    clean = Finder.explain_targets(["cat"], (), ())
    assert found(["dog", "cat"], clean) == ["cat"]
    assert found(["dog"], clean) == ["cat of the clean picture"]
    with pytest.raises(UsageError, match=r"of B, fog:5 \(toy\): there is no such thing"):
        found(["dog"], clean, lost=False)


def test_another_models_box_is_the_one_that_overlaps_not_the_one_of_the_same_number():
    task, geometry = DETECTION, Geometry.identity((100, 100))

    def view(*centres: float) -> Any:
        outputs = {
            "logits": np.float32([[[3.0 - n, -9] for n in range(len(centres))]]),
            "boxes": np.float32([[[c, 0.5, 0.2, 0.2] for c in centres]]),
        }
        said = task.decoder("detr_sigmoid", 1)(outputs, [geometry], ("cat", "dog"), {})[0]
        return SimpleNamespace(answer=Answer(outputs, said, geometry))

    model: Any = SimpleNamespace(task=task, classes=("cat", "dog"))
    first = explain._targets(model, Side("A", "one", ""), view(0.2, 0.7), ("box 0", "box 1"), several=True)
    found, unmatched = explain._same(model, Side("B", "two", ""), view(0.72, 0.4), first, lost=False)
    assert [(target.asked, target.words) for target in found] == [("box 1", "box 0: 'cat', 95 %")]
    assert len(unmatched) == 1
    assert unmatched[0].startswith("box 0: 'cat', 95 % has no match in B (two): no box of its class overlaps it by 0.5")


def test_what_has_no_effect_is_told():
    told = " ".join(explain._idle(ExplainSpec(
        models=("a", "b"), images=("c",), pictures=3, layer="x", masks=5, maps=("rollout",), layers=True
    )))  # fmt: skip
    for field in ("explain.layers", "explain.pictures", "explain.layer:", "explain.masks"):
        assert field in told
    assert list(explain._idle(ExplainSpec(models=("a",), images=("c",), layer="x", masks=5))) == []


def test_layers_are_a_question_that_leaves_no_run(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["explain", str(checkpoint), "--layers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "layers:" in lines
    assert any(line.split()[0] == "backbone.body.layer3" for line in lines)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "error", "words"),
    [
        ({"explain.layer": "backbone.body.layer33"}, UsageError, ("no layer", "backbone.body.layer3", "--layers")),
        ({"explain.layer": "head"}, UsageError, ("gives (1, 3), no map",)),
        ({"explain.targets": ["dics"]}, UsageError, ("'dics'", "did you mean 'disc'?", "bars, disc, plain")),
        ({"explain.targets": ["3"]}, UsageError, ("by id, 0 to 2",)),
        ({"explain.maps": ["rollout"]}, ModelError, ("no attention to roll out", "gradcam, rise and features fit")),
        ({"explain.corruption": "nose:3"}, InputError, ("explain.corruption: ", "nose")),
        ({"explain.corruption": "noise:9"}, InputError, ("explain.corruption: gaussian_noise has no severity 9",)),
        ({"explain.backend": "abacus"}, SpecError, ("auto", "onnxruntime", "openvino", "torch")),
    ],
)  # fmt: skip
def test_a_wrong_wish_is_one_clear_error_and_leaves_nothing(checkpoint, photos, tmp_path, overrides, error, words):
    values = {"explain.models": [str(checkpoint)], "explain.images": [str(photos / "disc" / "000.png")]}
    with pytest.raises(error) as raised:
        call("explain", values, out=tmp_path / "run", overrides={**QUICK, **overrides})
    assert len(raised.value.problems) == 1
    for part in words:
        assert part in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_a_picture_that_cannot_be_read_does_not_stop_the_others(checkpoint, photos, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    images = [str(tmp_path / "broken.png"), str(photos / "disc" / "000.png")]
    with pytest.raises(InputError, match=r"broken\.png"):
        call("explain", {"explain.models": [str(checkpoint)], "explain.images": images}, out=tmp_path / "run",
             overrides={**QUICK, "explain.maps": ["rise"]})  # fmt: skip
    assert len(records(tmp_path / "run")) == 1
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize("kinds", [["gradcam", "rise"], ["gradcam"]])
def test_a_map_that_can_t_be_made_is_told_and_the_others_are(checkpoint, photos, tmp_path, monkeypatch, kinds):
    """Of the first picture there is no Grad-CAM, as where a ReLU gives no gradient; of the second there is."""
    whole, seen = explain.make, []

    def make(kind: str, view: Any, *rest: Any) -> Any:
        if kind == "gradcam":
            seen.append(view)
        made = whole(kind, view, *rest)
        return [Problem("", "no gradient") for _ in made] if kind == "gradcam" and len(seen) == 1 else made

    monkeypatch.setattr(explain, "make", make)
    images = [str(photos / "disc" / "000.png"), str(photos / "bars" / "001.png")]
    call("explain", {"explain.models": [str(checkpoint)], "explain.images": images}, out=tmp_path / "run",
         overrides={**QUICK, "explain.maps": kinds})  # fmt: skip
    found = [(Path(record["image"]).name, record["kind"]) for record in records(tmp_path / "run")]
    assert found == [pair for pair in ((n, k) for n in ("000.png", "001.png") for k in kinds)
                     if pair != ("000.png", "gradcam")]  # fmt: skip
    assert "no Grad-CAM: no gradient" in (tmp_path / "run" / "events.jsonl").read_text()


def test_where_no_map_can_be_made_that_is_an_error(checkpoint, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(explain, "make", lambda *_: [Problem("", "no gradient")])
    with pytest.raises(ModelError, match="no map could be made"):
        call("explain", {"explain.models": [str(checkpoint)], "explain.images": [str(photos / "disc" / "000.png")]},
             out=tmp_path / "run", overrides={**QUICK, "explain.maps": ["gradcam"]})  # fmt: skip


def test_a_bundle_has_nothing_to_look_into(bundle, photos, tmp_path):
    for wish in ({"explain.maps": ["gradcam"]}, {"explain.layer": "x"}, {"explain.layers": True}):
        with pytest.raises(ModelError, match="is a bundle, which holds no PyTorch weights") as raised:
            call("explain", {"explain.models": [str(bundle)]}, out=tmp_path / "run", overrides=wish)
        assert "explain.maps=rise" in str(raised.value)
        assert "the run or the checkpoint that it was exported from" in str(raised.value)


BLOCKER = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "timm", "safetensors", "onnx", "onnxscript"):
            raise ModuleNotFoundError(f"No module named {name!r} (blocked)", name=name)
sys.meta_path.insert(0, Blocked())
from espalier.cli import main
sys.exit(main())
"""


@pytest.mark.slow
def test_a_bundle_is_explained_without_torch_as_its_checkpoint_is_with_it(bundle, explained, photos, tmp_path):
    image = str(photos / "disc" / "000.png")
    command = [sys.executable, "-c", BLOCKER, "explain", str(bundle), image, "--out", "run", "--corruption", "noise:1"]
    source = str(Path(espalier.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source}
    done = subprocess.run([*command, *WORDS], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = records(tmp_path / "run")
    assert [record["kind"] for record in found] == ["rise", "rise"]
    own = np.load(explained / records(explained)[0]["arrays"])["rise"]
    assert np.allclose(np.load(tmp_path / "run" / found[0]["arrays"])["rise"], own, atol=1e-4, equal_nan=True)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "gaussian_noise:1" in page


def test_models_are_told_from_pictures(checkpoint, bundle, photos, tmp_path, capsys):
    assert is_model(checkpoint)
    assert is_model(bundle)
    assert not is_model(photos)
    assert not is_model(photos / "disc" / "000.png")
    (tmp_path / "photos.zip").write_bytes(b"PK, but damaged")
    assert not is_model(tmp_path / "photos.zip")
    assert main(["explain", str(tmp_path / "runs"), str(photos), "--out", str(tmp_path / "run")]) == 2
    assert "there is no such model" in capsys.readouterr().err
    assert main(["explain"]) == 2
    assert "explain needs MODEL" in capsys.readouterr().err


def test_how_alike_two_maps_are():
    map_HW = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert alike(map_HW, 10 * map_HW + 3) == pytest.approx(1)
    assert alike(map_HW, -map_HW) == pytest.approx(-1)
    assert alike(map_HW, np.zeros((3, 4), np.float32)) is None
    hole_HW = map_HW.copy()
    hole_HW[0] = np.nan
    assert alike(map_HW, hole_HW) == pytest.approx(1)


def test_an_interval_goes_by_pictures():
    few = mean_figure("x", [1.0, 2.0], [0, 1], seed=0)
    assert (few.value, few.low) == (1.5, None)
    twice = mean_figure("x", [1.0, 2.0, 3.0, 4.0, 5.0] * 2, [0, 1, 2, 3, 4] * 2, seed=0)
    once = mean_figure("x", [1.0, 2.0, 3.0, 4.0, 5.0], [0, 1, 2, 3, 4], seed=0)
    assert twice == once  # saying it twice makes nothing surer
    assert once.low is not None
    assert once.low < 3 < once.high


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ((0.2, 0.1), "+0.35 against random"),
        ((0.7, 0.1), "+0.10 against random, but not better than every random map"),
        ((0.7, 0.5), "-0.10 against random: no better than random"),
    ],
)
def test_a_verdict_does_not_contradict_its_number(scores: tuple[float, ...], words: str) -> None:
    def sure(insertion: float) -> Faith:
        return Faith(deletion_S=np.zeros(3), insertion_S=np.full(3, insertion))

    panel = Panel(1, "a", "", Side("A", "m", ""), "", "rise", "", "", "", 1.0, sure(0.5), tuple(map(sure, scores)), 0.0,
                  "", "", "", np.zeros((1, 1), np.float32))  # fmt: skip
    assert panel.verdict == words
