"""Every field of a published training and evaluation, as numbers from the facts and the authors' configurations."""

from __future__ import annotations

from typing import Any

import pytest

from espalier.actions.models import lookup
from espalier.data.layouts import LAYOUTS
from espalier.errors import UsageError
from espalier.networks import registry
from espalier.networks.published_results import find
from espalier.spec.load import load_spec
from espalier.spec.sections import Spec
from espalier.tasks.detection.figures import KEYS

NAMES = [name for card in map(registry.get, registry.names()) for name in card.published]
DINO = ["dino_r50_4scale_12ep", "dino_r50_5scale_12ep"]
DEFORMABLE = [name for name in NAMES if name.startswith("deformable_detr_r50")]


def spec(name: str, *, devices: int = 1) -> Spec:
    card, result = find(name)
    return load_spec(result.values(card.name, "coco", devices), lookup=lookup)


def network(name: str) -> dict[str, Any]:
    found = spec(name).network
    assert found is not None
    return found.model_dump(mode="json")


def test_what_there_is() -> None:
    assert len(DINO) == 2
    assert len(DEFORMABLE) == 5
    with pytest.raises(UsageError, match="did you mean 'dino_r50_4scale_12ep'"):
        find("dino_r50_4scale")


@pytest.mark.parametrize("name", NAMES)
def test_training_that_both_papers_share(name: str) -> None:
    train, augment = spec(name).train, spec(name).train.augment
    assert (train.optimizer, train.weight_decay, train.decay_all, train.momentum) == ("adamw", 1e-4, True, 0.9)
    assert (train.clip_norm, train.backbone_lr_ratio, train.ema_decay, train.precision) == (0.1, 0.1, 0, "fp32")
    assert (train.schedule, train.step_factor, train.warmup_epochs, train.batch_size) == ("step", 0.1, 0, 2)
    assert train.freeze == ("backbone.body.conv1", "backbone.body.layer1")  # what is outside layer2..4
    assert augment.sizes == (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    assert (augment.crop, augment.crop_edges, augment.crop_px) == (0.5, (400, 500, 600), (384, 600))
    assert (augment.hflip, augment.vflip, augment.scale, augment.jitter) == (0.5, 0, (1, 1), (1, 1))
    assert (augment.brightness, augment.contrast, augment.saturation, augment.hue) == (0, 0, 0, 0)
    assert (augment.mosaic, augment.mixup, augment.cutmix, augment.erase, augment.min_visible) == (0, 0, 0, 0, 0)
    assert spec(name).seed == 42


@pytest.mark.parametrize("name", NAMES)
def test_data_and_evaluation(name: str) -> None:
    _, result = find(name)
    assert len(spec(name).data.classes) == result.rows == 91
    assert (spec(name).data.classes[1], spec(name).data.classes[90]) == ("person", "toothbrush")
    given = network(name)["input"]
    assert (given["size_hw"], given["fit"], given["tile_px"]) == ([800, 1333], "capped_edges", 0)
    assert given["mean"] == [0.485, 0.456, 0.406]
    assert given["std"] == [0.229, 0.224, 0.225]
    assert (result.decode["clip"], result.decode["threshold"]) == (False, 0)
    assert network(name)["detections"] == result.decode["top"]
    assert set(result.figures) <= set(KEYS)
    parts = LAYOUTS[result.layout].parts
    assert (parts["train"].count, parts["val"].count) == (118_287, 5_000)


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_that_both_networks_share(name: str) -> None:
    found = network(name)
    assert (found["width"], found["heads"], found["encoder_layers"], found["decoder_layers"]) == (256, 8, 6, 6)
    assert (found["encoder_points"], found["decoder_points"], found["freeze_batch_norm"]) == (4, 4, True)
    assert found["backbone"]["name"] == "timm/resnet50.tv_in1k"
    loss = found["loss"]
    assert loss["score"] == "presence"
    assert (loss["l1_weight"], loss["giou_weight"]) == (5, 2)
    assert (loss["class_cost"], loss["l1_cost"], loss["giou_cost"]) == (2, 5, 2)


@pytest.mark.parametrize(("name", "levels", "finest", "ap"), [(DINO[0], 4, 8, 49.0), (DINO[1], 5, 4, 49.4)])
def test_dino(name: str, levels: int, finest: int, ap: float) -> None:
    found, train = network(name), spec(name).train
    assert (found["levels"], found["finest_stride"], found["queries"], found["hidden"]) == (levels, finest, 900, 2048)
    assert (found["dropout"], found["position_temperature"], found["centred_positions"]) == (0, 20, False)
    assert found["loss"]["class_weight"] == 1
    noise = found["denoising"]
    assert (noise["queries"], noise["box_noise"], noise["label_noise"], noise["groups"]) == (100, 0.4, 0.5, 0)
    assert found["share_class_head"]
    assert found["share_box_head"]
    assert found["encoder_class_head"]
    assert found["encoder_box_head"]
    assert (train.epochs, train.lr, train.step_epochs, train.slow_lr_ratio) == (12, 1e-4, (11,), 1)
    assert find(name)[1].decode["top"] == 300
    assert find(name)[1].figures == {"map": ap}


@pytest.mark.parametrize(
    ("variant", "levels", "refine", "two_stage", "dilated", "figures"),
    [
        ("50ep", 4, False, False, False, (44.5, 27.1, 47.6, 59.6)),
        ("single_scale_50ep", 1, False, False, False, (39.4, 20.6, 43.0, 55.5)),
        ("single_scale_dc5_50ep", 1, False, False, True, (41.5, 24.1, 45.3, 56.0)),
        ("refine_50ep", 4, True, False, False, (46.2, 28.3, 49.2, 61.5)),
        ("two_stage_50ep", 4, True, True, False, (46.9, 29.6, 50.1, 61.6)),
    ],
)
def test_deformable_detr(
    variant: str, levels: int, refine: bool, two_stage: bool, dilated: bool, figures: tuple[float, ...]
) -> None:
    name = f"deformable_detr_r50_{variant}"
    found, train = network(name), spec(name).train
    assert (found["levels"], found["refine"], found["two_stage"]) == (levels, refine, two_stage)
    assert found["backbone"]["dilation"] is dilated
    assert (found["queries"], found["hidden"], found["dropout"], found["loss"]["class_weight"]) == (300, 1024, 0.1, 2)
    assert (train.epochs, train.lr, train.step_epochs, train.slow_lr_ratio) == (50, 2e-4, (40,), 0.1)
    assert find(name)[1].decode["top"] == 100
    assert tuple(find(name)[1].figures.values()) == figures


@pytest.mark.parametrize(("name", "devices", "accumulate"), [(DINO[0], 1, 8), (DINO[0], 8, 1), (DEFORMABLE[0], 4, 4)])
def test_as_many_pictures_in_a_step_on_any_number_of_devices(name: str, devices: int, accumulate: int) -> None:
    assert spec(name, devices=devices).train.accumulate == accumulate
