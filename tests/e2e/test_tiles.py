"""Large pictures by every verb: learnt from tile by tile, scored whole, deployed as they were scored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.e2e.objects import COLOURS

import espalier
from espalier.errors import ModelError, SpecError
from espalier.runs.run import Run

pytestmark = pytest.mark.slow

SIZE_HW = (150, 300)


def draw_large(folder: Path, *, count: int, seed: int) -> Path:
    """Pictures of 300 × 150 px with rectangles of 14 to 24 px, some across the seams of tiles, as YOLO."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    height, width = SIZE_HW
    cells = [(x, y) for y in range(2, height - 26, 36) for x in range(2, width - 26, 42)]
    for n in range(count):
        image = rng.integers(40, 90, 3) + rng.normal(0, 8, (height, width, 3))
        lines = []
        for cell in rng.choice(len(cells), 9, replace=False):
            (x, y), (w, h) = cells[cell], rng.integers(14, 25, 2)
            number = int(rng.integers(0, 2))
            image[y : y + h, x : x + w] = COLOURS[("red", "blue")[number]]
            lines.append(f"{number} {(x + w / 2) / width} {(y + h / 2) / height} {w / width} {h / height}")
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{n:03d}.png")
        (folder / "labels" / f"{n:03d}.txt").write_text("\n".join(lines))
    (folder / "data.yaml").write_text("names: [red, blue]\ntrain: images\n")
    return folder


def spec(boxes: Path, **given: Any) -> dict[str, Any]:
    return {
        "name": "large",
        "network": {"name": "dino", "preset": "tiny", "decoder_layers": 1, "input": given},  # exported sooner
        "data": {"train": str(boxes)},
        "train": {
            "epochs": 2, "batch_size": 4, "workers": 0, "device": "cpu", "lr": 0.002, "tensorboard": False,
            "evaluate_every_epochs": 10, "augment": {"scale": [1, 1]},
        },
        "evaluate": {"bootstrap": 0, "pictures": 2},
    }  # fmt: skip


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    draw_large(folder / "test", count=2, seed=2)
    return draw_large(folder / "train", count=6, seed=1)


@pytest.fixture(scope="module")
def trained(boxes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "tiles"
    espalier.train(spec(boxes), out=run, progress=False)
    return run


@pytest.fixture(scope="module")
def bundle(trained: Path) -> Path:
    espalier.export(trained, out=trained.parent / "exported", progress=False)
    return trained.parent / "exported" / "bundle"


def figures(model: Path, data: Path, out: Path, **more: Any) -> dict[str, Any]:
    overrides = {"evaluate.data": str(data), "evaluate.bootstrap": 0, **more}
    found: dict[str, Any] = espalier.evaluate(model, out=out, overrides=overrides, progress=False)
    return found


def test_tiles_are_chosen_by_the_data_and_recorded(trained: Path, bundle: Path) -> None:
    events = [event for event in Run.open(trained).events() if event["kind"] in ("say", "decision")]
    text = "\n".join(str(event) for event in events)
    assert "in a whole picture; in such a tile" in text
    assert "of the objects are at most" in text
    assert "an epoch shows the" in text
    tiles = json.loads((trained / "checkpoints/best/checkpoint.json").read_text())["tiles"]
    assert tiles["version"] == 1
    assert tiles["tile_px"] == 64
    assert json.loads((bundle / "bundle.json").read_text())["tiles"] == tiles


def test_whole_pictures_are_scored_and_small_objects_found(trained: Path) -> None:
    result = json.loads((trained / "run.json").read_text())["result"]
    assert result["pictures"] == 1  # the fifth that was held out, whole
    assert result["figures"]["ap50"]["value"] > 0.15  # red from blue, and where, after seconds


def test_bundle_says_what_the_checkpoint_says(trained: Path, bundle: Path, boxes: Path, tmp_path: Path) -> None:
    assert espalier.verify(bundle, out=tmp_path / "proof", progress=False)["passed"]
    found = [figures(m, boxes.parent / "test", tmp_path / f"s{n}")["figures"] for n, m in enumerate((trained, bundle))]
    assert all(found[0][key]["value"] == pytest.approx(found[1][key]["value"], abs=1e-3) for key in found[0])
    model = espalier.load(bundle)
    picture = boxes.parent / "test" / "images" / "000.png"
    said = model.predict([str(picture)])[0]
    assert (said.box_xyxy[:, 2].max(), said.box_xyxy[:, 3].max()) <= (300, 150)
    assert said.box_xyxy[said.score > 0.2, 2].max() > 150  # in the picture's pixels, not in a tile's
    espalier.predict(bundle, picture, out=tmp_path / "said", progress=False)
    written = json.loads((tmp_path / "said" / "predictions.json").read_text())
    assert len(written[0]["objects"]) == len(said.said)


def test_a_tile_is_explained(trained: Path, boxes: Path, tmp_path: Path) -> None:
    overrides = {"explain.maps": ["gradcam"], "explain.random_maps": 1, "explain.steps": 4}
    picture = boxes.parent / "test" / "images" / "000.png"
    result = espalier.explain(trained, images=picture, out=tmp_path / "why", overrides=overrides, progress=False)
    assert result["maps"] == 1
    (panel,) = json.loads((tmp_path / "why" / "explanations.json").read_text())
    assert panel["note"].startswith("tile ")


def test_corruptions_are_scored_whole(bundle: Path, boxes: Path, tmp_path: Path) -> None:
    more = {
        "evaluate.corruptions.enabled": True, "evaluate.corruptions.which": ["gaussian_noise"],
        "evaluate.corruptions.severities": [1], "evaluate.corruptions.workers": 0,
    }  # fmt: skip
    found = figures(bundle, boxes.parent / "test", tmp_path / "noise", **more)
    assert 0 <= found["corruptions"]["each"]["gaussian_noise"]["mean"]["value"] <= 1
    assert found["corruptions"]["conditions"]["model"]


def test_tiles_that_this_version_does_not_know_are_refused(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "newer")
    path = tmp_path / "newer" / "bundle.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "tiles": {**manifest["tiles"], "version": 2}}))
    with pytest.raises(ModelError, match="version 2 is unknown"):
        espalier.load(tmp_path / "newer")


def test_a_classifier_has_no_tiles(boxes: Path, tmp_path: Path) -> None:
    given = {"network": {"name": "classifier", "input": {"tile_px": 64}}, "data": {"train": str(boxes)}}
    with pytest.raises(SpecError, match=r"network\.input\.tile_px.*classification"):
        espalier.train(given, out=tmp_path / "x", progress=False)
