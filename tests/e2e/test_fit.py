"""fit, evaluate and compare on drawn pictures: from a folder to a verified bundle, its scores and its page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import draw_photos

import espalier
from espalier.actions import finetune
from espalier.errors import DataError, DivergedError

pytestmark = pytest.mark.slow

TINY = {
    "network.name": "classifier",
    "network.preset": "tiny",
    "network.input.size_hw": [64, 64],
    "fit.minutes": 1,
    "fit.folds": 3,
}


def events(run: Path, kind: str) -> list[dict[str, Any]]:
    """The events of that kind."""
    lines = (json.loads(line) for line in (run / "events.jsonl").read_text().splitlines())
    return [event for event in lines if event["kind"] == kind]


def said(run: Path) -> str:
    """What was told."""
    return "\n".join(event["text"] for event in events(run, "say"))


@pytest.fixture(scope="module")
def few(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """(the run, its result) of 36 pictures."""
    run = tmp_path_factory.mktemp("few") / "run"
    return run, espalier.fit(photos, out=run, overrides=TINY, progress=False)


@pytest.fixture(scope="module")
def enough(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """(the run, its result) of 60 pictures with a test part, some of the others held out."""
    data = tmp_path_factory.mktemp("enough")
    draw_photos(data / "photos" / "train", count=20, seed=1)
    draw_photos(data / "photos" / "test", count=8, seed=2)
    overrides = {**TINY, "fit.minutes": 10, "fit.few_pictures": 30, "train.epochs": 6, "train.batch_size": 8}
    run = data / "run"
    return run, espalier.fit(data / "photos", out=run, overrides=overrides, progress=False)


def test_few_pictures_are_scored_out_of_fold(few: tuple[Path, dict[str, Any]]) -> None:
    _, result = few
    assert result["task"] == "classification"
    assert result["pictures"] == 36
    accuracy = result["figures"]["accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert accuracy["value"] > 0.5  # a random encoder tells discs and bars from nothing; chance is a third
    assert "out of fold" in result["scored"]
    assert "trained on all" in result["scored"]
    assert result["tried"][0]["way"] == "head on the frozen encoder"
    assert result["labels"].startswith("100 more labelled pictures")
    assert accuracy["value"] >= result["tried"][0]["figures"]["accuracy"]["value"]


def test_the_run_holds_checkpoint_bundle_and_page(few: tuple[Path, dict[str, Any]]) -> None:
    run, _ = few
    record = json.loads((run / "run.json").read_text())
    assert record["state"] == "done"
    assert (run / "checkpoints" / "best" / "model.safetensors").exists()
    assert (run / "bundle" / "bundle.json").exists()
    page = (run / "report.html").read_text()
    for title in ("How good it is", "Each class", "What was tried", "More labels?", "Where the time went"):
        assert title in page
    sections = {event["section"] for event in events(run, "block")}
    assert {"result", "mistakes", "data", "labels", "speed", "proof"} <= sections
    assert "espalier.load(&quot;bundle&quot;)" in page
    assert str(run) not in page  # it is shown to others
    assert "verified" in said(run)


def test_the_bundle_says_what_the_checkpoint_says(
    few: tuple[Path, dict[str, Any]], photos: Path, tmp_path: Path
) -> None:
    run, _ = few
    result = espalier.evaluate(run, photos, out=tmp_path / "scores", progress=False)
    checkpoint, bundle = result["models"]
    assert (checkpoint["kind"], bundle["kind"]) == ("checkpoint", "bundle")
    assert checkpoint["figures"]["accuracy"] == bundle["figures"]["accuracy"]
    assert bundle["figures"]["log_loss"]["value"] == pytest.approx(checkpoint["figures"]["log_loss"]["value"], rel=1e-4)
    text = said(tmp_path / "scores")
    assert "checkpoint: accuracy" in text
    assert "bundle: accuracy" in text
    assert len(espalier.load(run).predict([str(photos / "disc" / "000.png")])) == 1


def test_pictures_that_were_learnt_from_score_nothing(few: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    run, _ = few
    with pytest.raises(DataError, match="trained on all of these pictures"):
        espalier.evaluate(run, out=tmp_path / "scores", progress=False)


def test_a_test_part_is_scored_by_checkpoint_and_bundle(enough: tuple[Path, dict[str, Any]]) -> None:
    run, result = enough
    assert result["pictures"] == 24  # the test part
    assert result["scored"] == "the test set (24 pictures)"
    assert "held out" in result["chosen_on"]
    assert len(result["tried"]) == 2  # fine-tuning was tried, too
    assert result["verdict"] in ("better", "worse", "can't tell")
    text = said(run)
    assert "checkpoint: accuracy" in text
    assert "bundle: accuracy" in text
    kept = result["tried"][1 if result["verdict"] == "better" else 0]
    assert result["way"] == kept["way"]
    assert all(not event["figures"] for event in events(run, "epoch"))  # no epoch was chosen on the pictures held out


def test_the_same_model_cannot_be_told_from_itself(
    few: tuple[Path, dict[str, Any]], photos: Path, tmp_path: Path
) -> None:
    run, _ = few
    result = espalier.compare(run, run / "bundle", data=photos, out=tmp_path / "compared", progress=False)
    verdict = result["comparisons"][0]
    assert verdict["verdict"] == "can't tell"
    assert verdict["difference"] == 0
    assert verdict["changed"] == []
    assert all(model["ms_per_picture"] > 0 and model["size_mb"] > 0 for model in result["models"])


def test_a_better_model_is_told_from_a_worse_one(
    few: tuple[Path, dict[str, Any]], enough: tuple[Path, dict[str, Any]], photos: Path, tmp_path: Path
) -> None:
    """The model that learnt these very pictures against one that did not: the pictures that changed sides are shown."""
    result = espalier.compare(enough[0], few[0], data=photos, out=tmp_path / "compared", progress=False)
    verdict = result["comparisons"][0]
    assert verdict["low"] <= verdict["difference"] <= verdict["high"]
    gained = sum(changed["kind"] == "gained" for changed in verdict["changed"])
    lost = len(verdict["changed"]) - gained
    assert (gained - lost) / 36 == pytest.approx(verdict["difference"])


@pytest.mark.parametrize("few_pictures", [300, 10], ids=["few", "enough"])
def test_fine_tuning_that_diverges_leaves_the_frozen_head(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few_pictures: int
) -> None:
    def diverges(*_: object, **__: object) -> None:
        raise DivergedError("the loss became nan at step 2")

    monkeypatch.setattr(finetune, "tune", diverges)
    overrides = {**TINY, "fit.minutes": 10, "fit.few_pictures": few_pictures, "fit.label_curve": False}
    result = espalier.fit(photos, out=tmp_path / "run", overrides=overrides, progress=False)
    assert result["way"] == "head on the frozen encoder"
    assert result["reason"] == "fine-tuning failed: the loss became nan at step 2"
    assert (tmp_path / "run" / "bundle" / "bundle.json").exists()
