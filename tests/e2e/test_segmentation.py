"""From masks, and from outlines, to a verified bundle by every verb, on pictures drawn in a moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from tests.e2e.objects import COLOURS

import espalier
from espalier.actions.models import open_model
from espalier.data.formats import read_index
from espalier.runs.run import Run
from espalier.tasks.base import ImageQuery
from espalier.vision.image import read_image

pytestmark = pytest.mark.slow


def draw_masks(folder: Path, *, count: int, seed: int) -> Path:
    """Noisy 96 × 72 px pictures of red and blue diamonds; in their masks 1 and 2, and a strip of each is ignored."""
    rng = np.random.default_rng(seed)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for n in range(count):
        noise = rng.integers(40, 90, 3) + rng.normal(0, 8, (72, 96, 3))
        image, mask = Image.fromarray(noise.clip(0, 255).astype(np.uint8)), Image.new("L", (96, 72))
        for left in (2, 50):
            number, (w, h) = int(rng.integers(0, 2)), (int(side) for side in rng.integers(26, 44, 2))
            x, y = left + int(rng.integers(0, 2)), int(rng.integers(2, 70 - h))
            corners = [(x + w / 2, y), (x + w, y + h / 2), (x + w / 2, y + h), (x, y + h / 2)]
            ImageDraw.Draw(image).polygon(corners, fill=COLOURS[("red", "blue")[number]])
            ImageDraw.Draw(mask).polygon(corners, fill=number + 1)
        ImageDraw.Draw(mask).rectangle((0, 70, 95, 71), fill=255)
        image.save(folder / "images" / f"{n:03d}.png")
        mask.save(folder / "masks" / f"{n:03d}.png")
    (folder / "classes.csv").write_text("value,class\n0,background\n1,red\n2,blue\n255,ignore\n")
    return folder


def spec(masks: Path, **data: Any) -> dict[str, Any]:
    return {
        "name": "masks",
        "network": {"name": "segformer", "preset": "tiny"},
        "data": {"train": str(masks / "train"), "val": str(masks / "val"), **data},
        "train": {
            "epochs": 12, "batch_size": 4, "workers": 0, "device": "cpu", "lr": 0.005, "tensorboard": False,
            "evaluate_every_epochs": 12, "augment": {"scale": [1, 1]},
        },
        "evaluate": {"bootstrap": 10, "pictures": 2},
    }  # fmt: skip


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masks")
    draw_masks(folder / "train", count=16, seed=1)
    draw_masks(folder / "val", count=5, seed=2)
    return folder


@pytest.fixture(scope="module")
def trained(masks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "first"
    espalier.train(spec(masks), out=run, progress=False)
    espalier.export(run, out=run.parent / "exported", progress=False)
    return run


def test_it_learns_and_the_bundle_scores_as_the_checkpoint(masks: Path, trained: Path) -> None:
    result = Run.open(trained).record.result
    assert result is not None
    assert result["task"] == "segmentation"
    assert result["figures"]["miou"]["value"] > 0.6
    bundle = trained.parent / "exported" / "bundle"
    assert espalier.verify(bundle, out=trained.parent / "proof", progress=False)["passed"]
    scored = [
        espalier.evaluate(model, data=str(masks / "val"), progress=False, out=trained.parent / f"scored-{n}")
        for n, model in enumerate((trained, bundle))
    ]
    values = [each["figures"]["miou"]["value"] for each in scored]
    assert values[0] == pytest.approx(values[1], abs=1e-4)
    assert values[0] == pytest.approx(result["figures"]["miou"]["value"], abs=1e-6)


def test_what_it_says_is_a_data_set_again(masks: Path, trained: Path) -> None:
    espalier.predict(
        trained.parent / "exported" / "bundle", [str(masks / "val" / "images")], progress=False,
        out=trained.parent / "said", overrides={"predict.formats": ["json", "csv", "pictures", "masks", "coco"]},
    )  # fmt: skip
    folder = trained.parent / "said"
    said = json.loads((folder / "predictions.json").read_text())
    assert sum(one["share"] for one in said[0]["classes"]) == pytest.approx(1, abs=1e-4)
    again = read_index(str(folder / "masks"))
    assert again.classes == ("background", "red", "blue")
    model = espalier.load(trained.parent / "exported" / "bundle")
    name = next(again.path(row) for row in range(len(again)))
    (found,) = model.predict([name])
    written = np.asarray(Image.open(again.annotations(0).mask.path))  # type: ignore[union-attr]
    assert (written == found.class_HW).all()
    assert read_index(str(folder / "coco" / "train.json")).kinds == {"box", "rle"}


def test_a_pixel_and_a_class_are_explained(masks: Path, trained: Path) -> None:
    found = espalier.explain(
        trained, images=[str(masks / "val" / "images" / "000.png")], progress=False, out=trained.parent / "why",
        overrides={"explain.targets": ["red", "20,30"], "explain.maps": ["gradcam"], "explain.random_maps": 1,
                   "explain.steps": 4},
    )  # fmt: skip
    told = json.loads((trained.parent / "why" / "explanations.json").read_text())
    assert found["maps"] == 2
    assert [one["target"] for one in told] == ["red", "20,30"]
    assert all(0 <= one["score"] <= 1 for one in told)


def test_exact_is_the_models_own_in_checkpoint_and_bundle(masks: Path, trained: Path, tmp_path: Path) -> None:
    """At two thirds of the pictures' size: 96 × 72 px are 64 × 48 of 64 × 64, and logits are 16 × 16."""
    asked = spec(masks)
    asked["network"] |= {"exact": True, "input": {"size_hw": [64, 64]}}
    asked["train"] |= {"epochs": 1, "evaluate_every_epochs": 1, "start_from": str(trained)}
    espalier.train(asked, out=tmp_path / "run", progress=False)
    espalier.export(tmp_path / "run", out=tmp_path / "exported", progress=False)
    bundle = tmp_path / "exported" / "bundle"
    assert espalier.verify(bundle, out=tmp_path / "proof", progress=False)["passed"]
    picture = masks / "val" / "images" / "001.png"
    query = ImageQuery(read_image(picture), picture.name)
    predictors = [open_model(path).predictor() for path in (tmp_path / "run", bundle)]
    assert [each.params for each in predictors] == [{"exact": True}] * 2
    by_checkpoint, by_bundle = (each([query])[0].class_HW for each in predictors)
    assert (by_checkpoint == by_bundle).mean() > 0.999
    (shown,) = espalier.load(bundle).predict([str(picture)])
    np.testing.assert_array_equal(shown.class_HW, by_bundle)
    ((_, outputs),) = predictors[1].raw([query])
    whole = torch.nn.functional.interpolate(torch.from_numpy(outputs["logits"]), (96, 96), mode="bilinear")
    assert (by_bundle == whole[0, :, :72].argmax(0).numpy()).mean() > 0.9995
    predictors[1].params["exact"] = False
    assert (by_bundle != predictors[1]([query])[0].class_HW).any()


def test_pictures_seen_in_tiles_are_learnt_scored_and_deployed_as_wholes(
    masks: Path, trained: Path, tmp_path: Path
) -> None:
    asked = spec(masks)
    asked["network"] |= {"input": {"size_hw": [48, 48], "tile_px": 48, "tile_overlap": 0.25}}
    asked["train"] |= {"epochs": 2, "evaluate_every_epochs": 2, "start_from": str(trained)}
    asked["train"]["augment"] |= {"jitter": [0.5, 2.0], "class_share": 0.75}
    espalier.train(asked, out=tmp_path / "run", progress=False)
    espalier.export(tmp_path / "run", out=tmp_path / "exported", progress=False)
    bundle = tmp_path / "exported" / "bundle"
    scored = [
        espalier.evaluate(model, data=str(masks / "val"), progress=False, out=tmp_path / f"scored-{n}")
        for n, model in enumerate((tmp_path / "run", bundle))
    ]
    figures = [each["figures"] for each in scored]
    assert scored[0]["pictures"] == 5  # not tiles
    assert figures[0]["miou"]["value"] > 0.5
    assert figures[0]["miou"]["value"] == pytest.approx(figures[1]["miou"]["value"], abs=1e-4)
    (found,) = espalier.load(bundle).predict([str(masks / "val" / "images" / "001.png")])
    assert found.class_HW.shape == (72, 96)


def test_outlines_become_the_same_classes(masks: Path, tmp_path: Path) -> None:
    from espalier.data import convert
    from espalier.data.formats import read_splits

    for part in ("train", "val"):
        convert.write(read_splits(str(masks / part)), tmp_path / "coco" / part, format="coco")
    raw = spec(tmp_path / "coco")
    raw["train"]["epochs"] = raw["train"]["evaluate_every_epochs"] = 1
    espalier.train(raw, out=tmp_path / "run", progress=False)
    record = Run.open(tmp_path / "run").record
    assert list(record.data["classes"]) == ["background", "red", "blue"]
