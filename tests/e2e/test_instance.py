"""From outlines to a verified bundle by every verb, on pictures drawn in a moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from tests.e2e.objects import COLOURS

import espalier
from espalier.errors import SpecError
from espalier.networks import registry
from espalier.runs.run import Run

pytestmark = pytest.mark.slow


def draw_outlines(folder: Path, *, count: int, seed: int) -> Path:
    """Noisy 96 × 72 px pictures of red and blue diamonds with COCO polygons; the first object of each fourth picture is
    labelled by its box alone."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    pictures: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for n in range(count):
        noise = rng.integers(40, 90, 3) + rng.normal(0, 8, (72, 96, 3))
        image = Image.fromarray(noise.clip(0, 255).astype(np.uint8))
        pictures.append({"id": n + 1, "file_name": f"{n:03d}.png", "width": 96, "height": 72})
        for k, left in enumerate((2, 50)[: int(rng.integers(1, 3))]):
            number, (w, h) = int(rng.integers(0, 2)), (int(side) for side in rng.integers(26, 40, 2))
            x, y = left + int(rng.integers(0, 4)), int(rng.integers(2, 70 - h))
            corners = [(x + w / 2, y), (x + w, y + h / 2), (x + w / 2, y + h), (x, y + h / 2)]
            ImageDraw.Draw(image).polygon(corners, fill=COLOURS[("red", "blue")[number]])
            outline = [] if n % 4 == 0 and k == 0 else [[float(v) for corner in corners for v in corner]]
            objects.append({
                "id": len(objects) + 1, "image_id": n + 1, "category_id": number + 1, "iscrowd": 0,
                "bbox": [x, y, w, h], "area": w * h / 2, "segmentation": outline,
            })  # fmt: skip
        image.save(folder / f"{n:03d}.png")
    names = [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}]
    labels = {"images": pictures, "annotations": objects, "categories": names}
    (folder / "labels.json").write_text(json.dumps(labels))
    return folder


def spec(outlines: Path, *, masks: bool = True, **train: Any) -> dict[str, Any]:
    return {
        "name": "outlines",
        "network": {"name": "dino", "preset": "tiny", "masks": masks},
        "data": {"train": str(outlines / "train" / "labels.json"), "val": str(outlines / "val" / "labels.json")},
        "train": {
            "epochs": 20, "batch_size": 4, "workers": 0, "device": "cpu", "lr": 0.002, "tensorboard": False,
            "evaluate_every_epochs": 20, "augment": {"scale": [1, 1]}, **train,
        },
        "evaluate": {"bootstrap": 10, "pictures": 2},
    }  # fmt: skip


def said(run: Path) -> str:
    return "\n".join(str(event) for event in Run.open(run).events() if event["kind"] == "say")


@pytest.fixture(scope="module")
def outlines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outlines")
    draw_outlines(folder / "train", count=16, seed=1)
    draw_outlines(folder / "val", count=6, seed=2)
    return folder


@pytest.fixture(scope="module")
def trained(outlines: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "first"
    espalier.train(spec(outlines), out=run, progress=False)
    espalier.export(run, out=run.parent / "exported", progress=False)
    return run


def test_training_learns_outlines(trained: Path) -> None:
    result = json.loads((trained / "run.json").read_text())["result"]
    assert result["task"] == "instance"
    assert result["figures"]["ap50"]["value"] > 0.2
    checkpoint = json.loads((trained / "checkpoints/best/checkpoint.json").read_text())
    assert (checkpoint["task"], checkpoint["decode"]["name"]) == ("instance", "detr_masks")


def test_the_bundle_says_what_the_checkpoint_says(trained: Path, outlines: Path, tmp_path: Path) -> None:
    bundle = trained.parent / "exported" / "bundle"
    assert espalier.verify(bundle, out=tmp_path / "proof", progress=False)["passed"]
    manifest = json.loads((bundle / "bundle.json").read_text())
    assert manifest["task"] == "instance"
    assert set(manifest["artifacts"][0]["parity"]["error"]) == {"logits", "boxes", "mask_kernels", "mask_features"}
    data = {"evaluate.data": str(outlines / "val" / "labels.json"), "evaluate.bootstrap": 0}
    models = [
        espalier.evaluate(m, out=tmp_path / n, overrides=data, progress=False)
        for m, n in ((trained, "a"), (bundle, "b"))
    ]
    first, second = (each["figures"] for each in models)
    assert {key: each["value"] for key, each in first.items()} == pytest.approx(
        {key: each["value"] for key, each in second.items()}, abs=1e-3, nan_ok=True
    )


def test_predictions_have_masks_of_the_picture_s_size(trained: Path, outlines: Path) -> None:
    model = espalier.load(trained.parent / "exported" / "bundle")
    (found,) = model.predict([str(outlines / "val" / "001.png")])
    assert len(found)
    assert all(tuple(mask["size"]) == (72, 96) for mask in found.mask)
    assert (found.area() > 0).any()


def test_a_detector_becomes_an_outliner_and_back(trained: Path, outlines: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes"
    espalier.train(spec(outlines, masks=False, epochs=1, start_from=str(trained)), out=boxes, progress=False)
    assert "made anew" not in said(boxes)
    espalier.train(spec(outlines, epochs=1, start_from=str(boxes)), out=tmp_path / "again", progress=False)
    assert f"made anew, since {boxes} has none: masks" in said(tmp_path / "again")


def test_a_task_that_the_network_does_not_is_told(outlines: Path, tmp_path: Path) -> None:
    asked = {"network.name": "dino", "network.preset": "tiny", "fit.task": "instance"}
    with pytest.raises(SpecError, match=r"this dino does detection") as told:
        espalier.fit(str(outlines / "train"), out=tmp_path / "fit", overrides=asked, progress=False)
    assert "network.masks=true" in str(told.value)


def test_fit_takes_a_network_for_outlines_and_makes_a_verified_bundle(outlines: Path, tmp_path: Path) -> None:
    (card,) = (card for card in registry.for_task("instance") if card.fit_presets_for("instance"))
    assert card.fit_preset("instance", "cpu", 600) == "nano_masks"
    overrides = {
        "network": {"name": card.name, "preset": "tiny_masks"}, "fit.minutes": 2, "train.epochs": 20, "train.lr": 0.002,
        "train.augment.scale": [1, 1], "train.tensorboard": False, "evaluate.bootstrap": 10, "evaluate.pictures": 2,
        "fit.report": False,
    }  # fmt: skip
    run = tmp_path / "run"
    result = espalier.fit(str(outlines / "train"), out=run, overrides=overrides, progress=False)
    assert (result["task"], result["network"]) == ("instance", card.name)
    assert result["figures"]["ap50"]["value"] > 0.2
    manifest = json.loads((run / "bundle" / "bundle.json").read_text())
    assert manifest["decode"]["name"] == "dense_masks"
    (found,) = espalier.load(run / "bundle").predict([str(outlines / "val" / "001.png")])
    assert all(tuple(mask["size"]) == (72, 96) for mask in found.mask)
