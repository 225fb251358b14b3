"""From boxes to a verified bundle by every verb, on pictures drawn in a moment."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.e2e.objects import detector_spec, draw_objects, told

import espalier
from espalier.bundle.bundle import Bundle
from espalier.errors import DataError, InterruptedByUser, SpecError
from espalier.runs.run import Run

pytestmark = pytest.mark.slow


def test_training_learns_and_chooses_a_threshold(detector: Path) -> None:
    result = json.loads((detector / "run.json").read_text())["result"]
    assert result["figures"]["ap50"]["value"] > 0.2  # red from blue, and where, after seconds
    checkpoint = json.loads((detector / "checkpoints/best/checkpoint.json").read_text())
    decode = checkpoint["decode"]
    assert decode["params"]["threshold"] == pytest.approx(result["suggested"]["threshold"]["value"])
    assert "mean F1" in decode["reasons"]["threshold"]
    assert checkpoint["figures"]["f1"] == pytest.approx(result["figures"]["f1"]["value"])
    text = told(detector)
    assert "no weights trained for detection are at hand" in text.splitlines()[0]


def test_bundle_says_what_the_checkpoint_says(detector: Path, deployed: Path, boxes: Path, tmp_path: Path) -> None:
    assert espalier.verify(deployed, out=tmp_path / "proof", progress=False)["passed"]
    manifest = json.loads((deployed / "bundle.json").read_text())
    assert manifest["artifacts"][0]["parity"]["sizes_hw"] == [[96, 96], [128, 160]]
    assert "threshold" in manifest["decode"]["reasons"]
    assert "threshold" in (deployed / "README.md").read_text()
    overrides = {"evaluate.bootstrap": 20, "evaluate.data": str(boxes)}
    scores = [
        espalier.evaluate(model, out=tmp_path / f"scores{n}", overrides=overrides, progress=False)["figures"]
        for n, model in enumerate((detector, deployed))
    ]
    assert scores[0].keys() == scores[1].keys()
    assert all(scores[0][key]["value"] == pytest.approx(scores[1][key]["value"], abs=1e-3) for key in scores[0])
    verdict = espalier.compare(detector, deployed, data=boxes, out=tmp_path / "compared", progress=False)
    assert verdict["comparisons"][0]["verdict"] == "can't tell"


def test_predictions_are_boxes_in_files_and_pictures(deployed: Path, boxes: Path, tmp_path: Path) -> None:
    out = tmp_path / "said"
    overrides = {"predict.formats": ["json", "csv", "pictures"]}
    espalier.predict(deployed, boxes / "test", out=out, overrides=overrides, progress=False)
    found = json.loads((out / "predictions.json").read_text())
    objects = [item for picture in found for item in picture["objects"]]
    assert objects
    assert all(0 <= x0 <= x1 <= 96 and 0 <= y0 <= y1 <= 72 for x0, y0, x1, y1 in (o["box_xyxy"] for o in objects))
    rows = list(csv.DictReader((out / "predictions.csv").open()))
    assert len([row for row in rows if row["class"]]) == len(objects)
    assert {Path(row["image"]).name for row in rows} == {f"{n:03d}.png" for n in range(6)}
    drawn = sorted((out / "drawn").iterdir())
    assert len(drawn) == 6
    assert Image.open(drawn[0]).width % 96 == 0  # enlarged to be legible
    model = espalier.load(deployed)
    first = model.predict([str(boxes / "test" / "005.png")])[0]
    assert first.threshold == pytest.approx(found[5]["threshold"])


def test_openvino_says_what_the_reference_does(deployed: Path, boxes: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    reference, other = Bundle.open(deployed).artifact().runtimes
    assert (reference.backend, other.backend) == ("onnxruntime", "openvino")
    assert other.version != ""
    assert other.error is not None
    assert other.error < 1e-4
    assert espalier.verify(deployed, overrides={"verify.backend": "openvino"}, progress=False)["passed"]
    scores = [
        espalier.evaluate(
            deployed,
            boxes,
            out=tmp_path / name,
            overrides={"evaluate.backend": name, "evaluate.bootstrap": 0, "evaluate.pictures": 0},
            progress=False,
        )["figures"]["map"]["value"]
        for name in ("onnxruntime", "openvino")
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)
    overrides = {"predict.backend": "openvino"}
    said = espalier.predict(deployed, boxes / "test", out=tmp_path / "said", overrides=overrides, progress=False)
    assert said["pictures"] == 6


def test_a_page_shows_it(detector: Path) -> None:
    espalier.report(detector, progress=False)
    page = (detector / "report.html").read_text()
    for title in ("How good it is", "Where the score is lost", "Precision over recall", "Which threshold"):
        assert title in page


def test_a_box_is_explained(detector: Path, boxes: Path, tmp_path: Path) -> None:
    overrides = {"explain.maps": ["gradcam"], "explain.targets": ["box 0"]}
    out = tmp_path / "why"
    result = espalier.explain(detector, images=boxes / "test" / "005.png", out=out, overrides=overrides, progress=False)
    assert result["maps"] == 1


def test_corruptions_are_scored(deployed: Path, boxes: Path, tmp_path: Path) -> None:
    overrides = {
        "evaluate.data": str(boxes), "evaluate.bootstrap": 20, "evaluate.corruptions.enabled": True,
        "evaluate.corruptions.which": ["gaussian_noise"], "evaluate.corruptions.severities": [3],
        "evaluate.corruptions.workers": 0,
    }  # fmt: skip
    found = espalier.evaluate(deployed, out=tmp_path / "noise", overrides=overrides, progress=False)
    assert 0 <= found["corruptions"]["each"]["gaussian_noise"]["mean"]["value"] <= 1


def test_a_stopped_training_ends_as_if_it_had_not_been(
    boxes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = detector_spec(boxes, epochs=2, ema_decay=0.9)
    espalier.train(given, out=tmp_path / "whole", progress=False)
    emit = Run.emit

    def stopped_at_five(run: Run, kind: str, /, **data: Any) -> None:
        emit(run, kind, **data)
        if kind == "step" and data["step"] == 5:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Run, "emit", stopped_at_five)
    with pytest.raises(InterruptedByUser):
        espalier.train(given, out=tmp_path / "cut", progress=False)
    monkeypatch.undo()
    espalier.train(resume=tmp_path / "cut", progress=False)
    weights = [(tmp_path / name / "checkpoints/last/model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """(the run, its result) of `fit` on boxes of a single class, and pictures of the background."""
    folder = tmp_path_factory.mktemp("fitted")
    draw_objects(folder / "photos", count=20, empty=4, classes=("red",), seed=7)
    overrides = {
        "network": {"name": "fcos", "preset": "tiny"}, "fit.minutes": 2, "evaluate.bootstrap": 20, "train.epochs": 12,
        "train.augment.scale": [1, 1], "evaluate.pictures": 2, "train.tensorboard": False,
    }  # fmt: skip
    return folder / "run", espalier.fit(folder / "photos", out=folder / "run", overrides=overrides, progress=False)


def test_fit_makes_a_verified_bundle_of_boxes(fitted: tuple[Path, dict[str, Any]]) -> None:
    run, result = fitted
    assert (result["task"], result["way"]) == ("detection", "trained as a whole")
    assert result["figures"]["map"]["low"] is not None
    text = told(run)
    assert "no weights trained for detection are at hand" in text.splitlines()[0]
    assert "have no label: they are learnt from as background" in text
    assert "verified" in text
    decode = json.loads((run / "bundle" / "bundle.json").read_text())["decode"]
    assert decode["params"]["threshold"] == pytest.approx(result["suggested"]["threshold"]["value"], abs=0.011)
    assert "held out" in decode["reasons"]["threshold"]
    assert result["figures"]["ap50"]["value"] > 0.2
    page = (run / "report.html").read_text()
    for title in ("How good it is", "What was tried", "Where the time went", "Surest false alarms"):
        assert title in page or title == "Surest false alarms"
    scores = espalier.evaluate(run, out=run.parent / "again", progress=False)  # it knows which pictures it held out
    assert scores["figures"]["map"]["value"] == pytest.approx(result["figures"]["map"]["value"], abs=1e-3)


def test_fit_chooses_a_detector_by_device_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from espalier.networks import registry

    (card,) = (card for card in registry.for_task("detection") if card.fit_presets_for("detection"))
    assert card.name == "fcos"
    assert card.fit_preset("detection", "cpu", 600) == "nano"
    assert card.fit_preset("detection", "cuda", 20) == "small"
    assert card.fit_preset("detection", "cuda", 90) == "base"


# ---- what can't be, and what had better be known ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "network", "message"),
    [
        ({"augment": {"mixup": 0.2}}, {}, r"train\.augment\.mixup: the labels of detection have places"),
        ({"augment": {"rotate_deg": 5}}, {}, r"train\.augment\.rotate_deg: .* can't be rotated"),
        ({}, {"queries": 60}, r"network\.queries: 60 queries can't be chosen among 45 places"),
    ],
)
def test_wishes_that_cannot_be_met(
    boxes: Path, tmp_path: Path, train: dict[str, Any], network: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        espalier.train(detector_spec(boxes, network=network, **train), out=tmp_path / "x", progress=False)


def test_more_objects_than_queries_is_told_with_the_numbers(tmp_path: Path) -> None:
    full = draw_objects(tmp_path / "full", count=8, empty=0, most=9, seed=4)
    given = detector_spec(full, network={"queries": 4, "detections": 4}, epochs=1)
    espalier.train(given, out=tmp_path / "run", progress=False)
    text = told(tmp_path / "run", "decision", "warning")
    assert "objects, of which no more than 4 can be found" in text


def test_a_validation_set_without_a_box_is_refused_before_training(boxes: Path, tmp_path: Path) -> None:
    draw_objects(tmp_path / "set" / "train", count=6, empty=0)
    draw_objects(tmp_path / "set" / "val", count=3, empty=3)
    with pytest.raises(DataError, match=r"no labelled object|no labelled picture"):
        espalier.train(detector_spec(tmp_path / "set"), out=tmp_path / "x", progress=False)
    with pytest.raises(DataError, match="the validation set has no labelled picture"):
        espalier.fit(tmp_path / "set", out=tmp_path / "y", progress=False)


def test_pictures_without_any_box_are_refused(tmp_path: Path) -> None:
    draw_objects(tmp_path / "bare", count=5, empty=5)
    with pytest.raises(DataError):
        espalier.fit(tmp_path / "bare", out=tmp_path / "x", progress=False)
    with pytest.raises(DataError, match="no picture to learn from has a label"):
        espalier.train(detector_spec(tmp_path / "bare"), out=tmp_path / "y", progress=False)


def test_a_class_that_training_never_shows_is_told(tmp_path: Path) -> None:
    draw_objects(tmp_path / "set" / "train", count=6, empty=0, classes=("red",))
    draw_objects(tmp_path / "set" / "val", count=4, empty=0, classes=("red", "green"), seed=9)
    espalier.train(detector_spec(tmp_path / "set", epochs=1), out=tmp_path / "run", progress=False)
    assert "green" in told(tmp_path / "run", "warning")
    assert np.isfinite(json.loads((tmp_path / "run" / "run.json").read_text())["result"]["figures"]["map"]["value"])
