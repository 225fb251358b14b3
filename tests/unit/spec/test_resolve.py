from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from espalier.errors import SpecError
from espalier.spec.facts import TileFacts
from espalier.spec.load import Lookup, load_spec
from espalier.spec.resolve import Decision, Facts, Hardware, resolve, spec_hash
from espalier.spec.sections import Spec


@dataclass(frozen=True)
class Encoder:
    name: str = "timm/resnet18"
    params: int = 11_000_000
    size_hw: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = (0.4, 0.5, 0.6)
    std: tuple[float, ...] = (0.1, 0.2, 0.3)
    resample: str = "pillow_bicubic"
    fit: str = "centre_crop"
    crop_fraction: float = 0.95
    smallest_px: int = 1


CUDA = Hardware("cuda", 1, "Card", 16, 22 * 1024, True, ("cuda", "cpu"))
FACTS = Facts(
    hardware=Hardware(cpu_cores=8, available=("cpu",)),
    n_train=2000,
    classes=("cat", "dog"),
    monitor="accuracy",
    data_format="folders",
    backbone=Encoder(),
)


def _facts(**changes: Any) -> Facts:
    return Facts(**{**FACTS.__dict__, **changes})


def _resolved(lookup: Lookup, facts: Facts = FACTS, **values: Any) -> tuple[Spec, dict[str, Decision]]:
    asked = {"network.name": "dino", **{key.replace("__", "."): value for key, value in values.items()}}
    spec, decisions = resolve(load_spec(asked, lookup=lookup), facts)
    return spec, {decision.field: decision for decision in decisions}


def test_every_auto_is_filled_and_told(lookup: Lookup) -> None:
    spec, decisions = _resolved(lookup)
    left = {
        name: part.model_dump() for name, part in (("train", spec.train), ("data", spec.data), ("net", spec.network))
    }  # type: ignore[union-attr]
    left["net"]["backbone"].pop("weights")  # the weight ladder decides that
    assert "auto" not in str(left)
    assert str(decisions["data.classes"]) == "data.classes: auto → [cat, dog] (2 found in the data)"
    assert spec.network.input.mean == (0.4, 0.5, 0.6)  # type: ignore[union-attr]
    assert spec.network.input.crop_fraction == 0.95  # type: ignore[union-attr]
    assert decisions["network.reach"].reason == "it is a lucky number"
    assert (spec.train.device, spec.train.precision, spec.train.strategy, spec.train.workers) == (
        "cpu",
        "fp32",
        "single",
        4,
    )
    assert (spec.train.batch_size, spec.train.epochs) == (32, 10)
    assert spec.train.lr == pytest.approx(1e-3 * 0.5**0.5, rel=1e-3)


def test_what_was_asked_stays(lookup: Lookup) -> None:
    spec, decisions = _resolved(lookup, train__lr=0.5, train__batch_size=3, data__classes=("b", "a"))
    assert (spec.train.lr, spec.train.batch_size, spec.data.classes) == (0.5, 3, ("b", "a"))
    assert not {"train.lr", "train.batch_size", "data.classes"} & decisions.keys()


def test_resolving_again_changes_nothing_and_unknown_facts_wait(lookup: Lookup) -> None:
    spec, _ = _resolved(lookup)
    assert resolve(spec, FACTS) == (spec, ())
    early, _ = _resolved(lookup, Facts())
    assert (early.data.classes, early.train.monitor) == ("auto", "auto")


@pytest.mark.parametrize(
    ("facts", "values", "field", "chosen"),
    [
        ({"hardware": CUDA}, {}, "train.precision", "bf16"),
        ({"hardware": Hardware("cuda", 1, "Old", 4, 8000, False)}, {}, "train.precision", "fp16"),
        ({"hardware": CUDA}, {"train__device": "cpu"}, "train.precision", "fp32"),
        ({"hardware": CUDA, "batch_fits": 11}, {}, "train.batch_size", 8),
        ({"hardware": CUDA}, {}, "train.batch_size", 64),
        ({"n_train": 50}, {}, "train.batch_size", 8),
        ({"n_train": 3}, {}, "train.batch_size", 2),
        ({"n_train": 50}, {}, "train.workers", 0),
        ({"n_train": 50}, {}, "train.epochs", 40),
        ({"n_train": 50, "pretrained": False}, {}, "train.epochs", 200),
        ({"n_train": 10**6}, {}, "train.epochs", 5),
        ({"hardware": Hardware("cuda", 4, "Card", 32, 80_000, True, world_size=4)}, {}, "train.devices", 4),
        ({"hardware": Hardware("cuda", 4, "Card", 32, 80_000, True, world_size=4)}, {}, "train.strategy", "ddp"),
        ({"bands": 8}, {}, "network.input.channels", "bands"),
        ({"bands": 8}, {}, "network.input.bands", 8),
        ({"bits": 16}, {}, "network.input.value_range", (0.0, 65535.0)),
        ({"bits": 16, "used_bits": 16}, {}, "network.input.value_range", (0.0, 65535.0)),
        ({"bits": 16, "used_bits": 12}, {}, "network.input.value_range", (0.0, 4095.0)),
        ({"bits": 16, "used_bits": 8}, {}, "network.input.value_range", (0.0, 256.0)),  # 255 would mean 8 bits
        ({}, {"network__input__channels": "grey"}, "network.input.bands", 1),
        ({}, {"network__input__fit": "stretch"}, "network.input.crop_fraction", 1.0),
        ({"backbone": Encoder(params=90_000_000)}, {"train__batch_size": 64}, "train.lr", 0.0005),
        ({}, {"train__optimizer": "sgd", "train__batch_size": 64, "train__accumulate": 2}, "train.lr", 0.1),
    ],
)
def test_rules(lookup: Lookup, facts: dict[str, Any], values: dict[str, Any], field: str, chosen: object) -> None:
    _, decisions = _resolved(lookup, _facts(**facts), **values)
    assert decisions[field].chosen == chosen
    assert decisions[field].reason


def test_grey_pictures_get_the_average_of_the_weights_statistics(lookup: Lookup) -> None:
    spec, _ = _resolved(lookup, network__input__channels="grey")
    assert spec.network.input.mean == (pytest.approx(0.5),)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"train__step_factor": 0.5}, "train.step_factor"),
        ({"train__poly_power": 2.0}, "train.poly_power"),
        ({"train__schedule": "constant", "train__final_lr_ratio": 0.5}, "train.final_lr_ratio"),
        ({"train__strategy": "ddp"}, "train.strategy"),
        ({"train__augment__off_last_epochs": 2}, "train.augment.off_last_epochs"),
        ({"train__augment__scale": (1, 1), "train__augment__ratio": (0.5, 2)}, "train.augment.ratio"),
        ({"data__val": "v", "data__val_fraction": 0.3}, "data.val_fraction"),
        ({"data__format": "folders", "data__images": "i"}, "data.images"),
        ({"train__epochs": 3, "train__patience_epochs": 5}, "train.patience_epochs"),
        ({"train__schedule": "step"}, "train.schedule"),
        ({"train__epochs": 3, "train__warmup_epochs": 3}, "train.warmup_epochs"),
        ({"network__input__crop_fraction": 0.5, "network__input__fit": "stretch"}, "network.input.crop_fraction"),
        ({"network__backbone__weights": "none", "network__backbone__download": True}, "network.backbone.download"),
        ({"network__input__channels": "grey", "train__augment__hue": 0.1}, "train.augment.hue"),
        ({"train__freeze": ["backbone"], "train__backbone_lr_ratio": 0.5}, "train.backbone_lr_ratio"),
        ({"train__freeze": ["backbone"], "train__activation_checkpointing": True}, "train.activation_checkpointing"),
    ],
)
def test_a_field_without_effect_warns(lookup: Lookup, values: dict[str, Any], field: str) -> None:
    _, decisions = _resolved(lookup, **values)
    assert decisions[field].kind == "warning"
    assert "has no effect" in str(decisions[field])


def test_no_warning_by_default(lookup: Lookup) -> None:
    _, decisions = _resolved(lookup)
    assert [d for d in decisions.values() if d.kind == "warning"] == []


def test_impossible_wishes_all_at_once(lookup: Lookup) -> None:
    hardware = Hardware(available=("cpu",), world_size=2)
    asked = {"train.device": "cuda", "train.devices": 3, "network.name": "dino", "network.input.channels": "rgb"}
    asked |= {"network.input.mean": [0.5], "network.input.bands": 4}
    with pytest.raises(SpecError) as caught:
        resolve(load_spec(asked, lookup=lookup), _facts(hardware=hardware))
    text = str(caught.value)
    assert "train.device: cuda was asked for and this machine has cpu" in text
    assert "train.devices: 3 were asked for and torchrun started 2" in text
    assert "network.input.bands: rgb has 3 bands, not 4" in text
    assert "network.input.mean: 1 values for 4 bands" in text


def test_an_input_smaller_than_the_backbone_takes_is_told_before_anything_is_trained(lookup: Lookup) -> None:
    spec = load_spec({"network.name": "dino", "network.input.size_hw": [16, 64]}, lookup=lookup)
    with pytest.raises(
        SpecError, match=r"network.input.size_hw: the input is 16 x 64 px\n.*takes 32 px or more a side"
    ):
        resolve(spec, _facts(backbone=Encoder(smallest_px=32)))


def test_hash_tells_specs_apart_by_everything_but_the_name(lookup: Lookup) -> None:
    spec = load_spec({"network.name": "dino"}, lookup=lookup)
    assert spec_hash(spec) == spec_hash(load_spec({"network.name": "dino", "name": "other"}, lookup=lookup))
    assert spec_hash(spec) != spec_hash(load_spec({"network.name": "dino", "seed": 1}, lookup=lookup))
    assert len(spec_hash(spec)) == 16


# ---- tiles -----------------------------------------------------------------------------------------------------------


def _large(**changes: Any) -> Facts:
    """Pictures of 1000 × 2000 px with objects of 30 px."""
    given = {"joins_tiles": True, "median_size_hw": (1000, 2000), "median_object_px": 30.0, "large_object_px": 60.0}
    return _facts(**{**given, **changes})


@pytest.mark.parametrize(
    ("facts", "tile_px", "words"),
    [
        (_large(), 288, "or less in a whole picture; in such a tile 33 px"),
        (_large(median_object_px=60.0), 608, "in such a tile 32 px"),
        (_large(median_object_px=2.0), 160, "in such a tile 4 px"),  # never enlarged more than twice
        (_large(median_object_px=110.0), 0, "half of the objects have 18 px or more"),
        (_large(median_size_hw=(300, 400), median_object_px=10.0), 0, "hardly larger than the network's input"),
        (_large(median_object_px=0.0), 0, "is not known"),
        (_large(median_size_hw=(20000, 20000), median_object_px=0.0), 1280, "62 times as long as the network's input"),
        (_large(joins_tiles=False), 0, "shown whole"),
    ],
)
def test_tiles_where_objects_would_be_too_small(lookup: Lookup, facts: Facts, tile_px: int, words: str) -> None:
    asked = {"network__input__size_hw": [320, 320], "network__input__fit": "letterbox"}
    spec, decisions = _resolved(lookup, facts, **asked)
    assert spec.network is not None
    assert spec.network.input.tile_px == tile_px
    assert words in decisions["network.input.tile_px"].reason


@pytest.mark.parametrize(("large_px", "overlap"), [(10.0, 0.2), (60.0, 0.2), (100.0, 0.35), (300.0, 0.5), (0.0, 0.25)])
def test_tiles_overlap_by_what_most_objects_are_long(lookup: Lookup, large_px: float, overlap: float) -> None:
    spec, _ = _resolved(lookup, _large(large_object_px=large_px), network__input__tile_px=320)
    assert spec.network is not None
    assert spec.network.input.tile_overlap == overlap


def test_epochs_and_batches_count_tiles(lookup: Lookup) -> None:
    facts = _large(n_train=2, tiles=lambda tile_px, overlap: TileFacts(count=1000, most_labels=9))
    few, _ = _resolved(lookup, facts, network__input__tile_px=0)
    many, decisions = _resolved(lookup, facts, network__input__tile_px=320)
    assert few.train.batch_size < many.train.batch_size  # type: ignore[operator]
    assert "1000 pictures" in decisions["train.epochs"].reason


def test_a_tile_of_a_few_pixels_is_refused(lookup: Lookup) -> None:
    with pytest.raises(SpecError, match="32 px or more"):
        _resolved(lookup, network__input__tile_px=8)


def test_an_overlap_without_tiles_has_no_effect_and_is_told(lookup: Lookup) -> None:
    _, decisions = _resolved(lookup, network__input__tile_px=0, network__input__tile_overlap=0.4)
    assert "tile_px is 0" in decisions["network.input.tile_overlap"].reason
