"""What would end a training later is refused before its first step, all of it at once; what has a rule passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from espalier.actions import pictures
from espalier.actions.models import lookup
from espalier.data.batches import BatchMaker, Plan
from espalier.data.check import check
from espalier.data.formats import read_splits
from espalier.data.samples import Samples
from espalier.errors import DataError
from espalier.layers.model import Batch, TrainableModel
from espalier.networks import card as cards
from espalier.networks import registry
from espalier.runs.run import Run
from espalier.spec.facts import Facts
from espalier.spec.load import load_spec
from espalier.spec.resolve import resolve
from espalier.spec.training import AugmentSpec
from espalier.tasks import base as tasks

DETECTION = tasks.get("detection")


def coco(
    folder: Path,
    *labels: dict[str, Any],
    sizes: tuple[tuple[int, int], ...] = ((60, 80),) * 4,
    saved: int | None = None,
) -> Path:
    """Pictures of these sizes (height, width), and the labels; ids don't start at 1 and have gaps."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number, (height, width) in enumerate(sizes[:saved]):
        pixels = rng.integers(0, 255, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((width, height)).save(folder / f"{number}.jpg")
    content = {
        "images": [
            {"id": 70 + n, "file_name": f"{n}.jpg", "height": height, "width": width}
            for n, (height, width) in enumerate(sizes)
        ],
        "annotations": [{"id": 9 + n, "image_id": 70, "category_id": 44, **label} for n, label in enumerate(labels)],
        "categories": [{"id": 90, "name": "late"}, {"id": 44, "name": "early"}],
    }
    (folder / "train.json").write_text(json.dumps(content))
    return folder


def begun(folder: Path, *, look: bool = True) -> tuple[pictures.Pictures, str]:
    """What a training would learn from, and what was said."""
    spec = load_spec(None, overrides=[f"data.train={folder}", "data.near_duplicates=false"], lookup=lookup)
    run = Run.nowhere("train")
    found = pictures.index(spec, DETECTION, run, look=look)
    return found, "\n".join(event["text"] for event in run.events() if event["kind"] in ("say", "warning"))


def test_a_sound_set_with_any_ids_begins(tmp_path: Path) -> None:
    found, said = begun(coco(tmp_path, {"bbox": [1, 1, 9, 9]}, {"bbox": [1, 1, 9, 9], "category_id": 90}))
    assert (found.train.classes, found.train.class_ids.tolist()) == (("early", "late"), [44, 90])
    assert len(found.train) + len(found.val) == 4
    assert "every picture can be read" in said


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown class": ({"bbox": [1, 1, 9, 9], "category_id": 5}, "class 5 is not among the categories"),
    "unknown picture": ({"bbox": [1, 1, 9, 9], "image_id": 5}, "picture 5, which is not among the images"),
    "no numbers": ({"bbox": [1, 1, "x", 9]}, "annotations"),
    "turned inside out": ({"bbox": [30, 1, -9, 9]}, r"the box \(30, 1, 21, 10\) is none"),
    "endless": ({"bbox": [1, 1, 1e39, 9]}, "is none"),
    "broken outline": ({"bbox": [1, 1, 9, 9], "segmentation": [["a"]]}, "outline|segmentation|polygon"),
}


@pytest.mark.parametrize("case", BAD)
def test_labels_that_nothing_can_be_made_of(tmp_path: Path, case: str) -> None:
    label, message = BAD[case]
    with pytest.raises(DataError, match=message) as caught:
        begun(coco(tmp_path, {"bbox": [1, 1, 9, 9]}, label))
    assert "data check" in str(caught.value)


def test_missing_and_damaged_pictures_are_told_together(tmp_path: Path) -> None:
    folder = coco(tmp_path, {"bbox": [1, 1, 9, 9]}, saved=3)
    (folder / "2.jpg").write_bytes((folder / "2.jpg").read_bytes()[:300])
    with pytest.raises(DataError) as caught:
        begun(folder)
    assert "3.jpg is missing" in str(caught.value)
    assert "2.jpg" in str(caught.value)
    begun(folder, look=False)  # data.check=false, and a run that is resumed


def test_boxes_outside_and_of_no_area_are_left_out_by_rule(tmp_path: Path) -> None:
    boxes = ([-5, -5, 20, 20], [70, 50, 40, 40], [10, 10, 0, 5], [500, 500, 9, 9], [5, 5, 10, 10])
    found, said = begun(coco(tmp_path, *({"bbox": box} for box in boxes)))
    assert "has no area" in said
    assert "lies wholly outside" in said
    row = next(
        row for part in (found.train, found.val) for row in range(len(part)) if len(part.annotations(row).class_id)
    )
    part = found.train if len(found.train.class_id) else found.val
    maker = BatchMaker(Samples(part, DETECTION), DETECTION, prepare_of("dino", 64), None, part.classes, 0)
    (box_N4,) = maker(Plan(0, 0, np.array([row]), mix=False)).targets["box_N4"]
    assert len(box_N4) == 3
    assert ((box_N4[:, :2] - box_N4[:, 2:] / 2 > -1e-6) & (box_N4[:, :2] + box_N4[:, 2:] / 2 < 1 + 1e-6)).all()


def test_more_than_a_detector_usually_finds_is_a_note_of_the_check(tmp_path: Path) -> None:
    boxes = [{"bbox": [n % 70, n // 70, 5, 5]} for n in range(350)]
    report = check(read_splits(str(coco(tmp_path, *boxes))))
    assert [f.what for f in report.findings if f.code == "many-labels"] == ["the fullest picture has 350 labels"]


# ---- and the network takes what passes -------------------------------------------------------------------------------


def network_of(name: str, edge: int, fit: str = "letterbox", **values: Any) -> Any:
    asked = {"network": {"name": name, "preset": "tiny", "input": {"size_hw": [edge, edge], "fit": fit}, **values}}
    network = resolve(load_spec(asked, lookup=registry.entry), Facts(n_train=2, classes=("a", "b")))[0].network
    assert network is not None
    return network


def prepare_of(name: str, edge: int, fit: str = "letterbox") -> Any:
    return registry.get(name).prepare(network_of(name, edge, fit))


def model_of(name: str, edge: int, fit: str = "letterbox", **values: Any) -> TrainableModel:
    torch.manual_seed(0)
    model: TrainableModel = cards.build(registry.get(name), network_of(name, edge, fit, **values), ("a", "b"))
    return model.train()


@pytest.mark.parametrize("name", ["dino", "deformable_detr"])
def test_three_hundred_and_fifty_objects_and_ten_queries(name: str) -> None:
    rng = np.random.default_rng(0)
    boxes = torch.as_tensor(rng.uniform(0.1, 0.4, (350, 4)), dtype=torch.float32)
    targets = {"class_N": [torch.zeros(350, dtype=torch.int64)], "box_N4": [boxes]}
    batch = Batch({"image": torch.randn(1, 3, 64, 64), "valid_hw": torch.tensor([[64, 64]])}, targets)
    losses = model_of(name, 64, queries=10).losses(batch)
    losses["total"].backward()  # type: ignore[no-untyped-call]
    assert all(torch.isfinite(loss) for loss in losses.values())


@pytest.mark.parametrize("fit", ["letterbox", "capped_edges"])
@pytest.mark.parametrize("augment", [None, AugmentSpec(scale=(1, 1), jitter=(0.5, 1.5), mosaic=0.5, crop=0.0)])
def test_pictures_from_16_to_8000_px(tmp_path: Path, fit: str, augment: AugmentSpec | None) -> None:
    sizes = ((16, 16), (16, 8000), (8000, 1000), (60, 80))
    labels = [{"bbox": [1, 1, 12, 12], "image_id": 70 + n} for n in range(len(sizes))]
    index = read_splits(str(coco(tmp_path, *labels, sizes=sizes)))["train"]
    maker = BatchMaker(Samples(index, DETECTION), DETECTION, prepare_of("dino", 64, fit), augment, index.classes, 0)
    model = model_of("dino", 64, fit)
    for rows in ([0], [1], [2], [0, 1, 2, 3]):
        arrays = maker(Plan(0, 0, np.array(rows), mix=True))
        inputs = {key: torch.as_tensor(value) for key, value in arrays.inputs.items()}
        targets = {key: [torch.as_tensor(each) for each in value] for key, value in arrays.targets.items()}
        assert torch.isfinite(model.losses(Batch(inputs, targets))["total"])
