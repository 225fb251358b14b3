"""What is chosen for detectors with object queries, and what can't work is told before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest

from espalier import backbones
from espalier.errors import SpecError
from espalier.networks.registry import entry
from espalier.spec.facts import Facts
from espalier.spec.load import load_spec
from espalier.spec.resolve import Decision, resolve
from espalier.spec.sections import Spec


def resolved(facts: Facts, **train: Any) -> tuple[Spec, dict[str, Decision]]:
    network = {"name": "dino", "preset": "nano", "backbone": {"name": "timm/resnet18", "weights": "none"}}
    spec, decisions = resolve(load_spec({"network": network, "train": train}, lookup=entry), facts)
    return spec, {each.field: each for each in decisions}


@pytest.mark.parametrize(
    ("n_train", "train", "rate"),
    [
        (16, {"batch_size": 4}, 4e-4),
        (2000, {"batch_size": 4}, 4e-4),
        (2001, {"batch_size": 4}, 1e-4),
        (0, {"batch_size": 4}, 1e-4),
        (500, {"batch_size": 4, "accumulate": 4}, 8e-4),
        (500, {"batch_size": 1}, 4e-4),
    ],
)
def test_rate_is_higher_for_few_pictures(n_train: int, train: dict[str, Any], rate: float) -> None:
    spec, decisions = resolved(Facts(n_train=n_train), **train)
    assert spec.train.lr == rate
    assert (f"only {n_train} are learnt from" in decisions["train.lr"].reason) is (0 < n_train <= 2000)


@pytest.mark.parametrize(
    ("n_train", "train", "epochs"),
    [
        (16, {"batch_size": 4}, 7.5),  # 4 steps an epoch
        (400, {"batch_size": 4}, 0.5),
        (5000, {"batch_size": 4}, 0.5),
        (16, {"batch_size": 4, "epochs": 20}, 2.0),  # no more than a tenth
        (0, {}, 0.5),
    ],
)
def test_warm_up_has_some_steps_however_short_an_epoch_is(n_train: int, train: dict[str, Any], epochs: float) -> None:
    spec, decisions = resolved(Facts(n_train=n_train), **train)
    assert spec.train.warmup_epochs == epochs
    assert decisions["train.warmup_epochs"].asked == "auto"


@pytest.mark.parametrize(
    ("device", "n_train", "batch"), [("cpu", 16, 2), ("cpu", 6, 1), ("cpu", 500, 2), ("cuda", 500, 4), ("cuda", 8, 2)]
)
def test_batches_are_small_where_steps_are_dear(device: str, n_train: int, batch: int) -> None:
    assert resolved(Facts(n_train=n_train), device=device)[0].train.batch_size == batch


@pytest.mark.parametrize(
    ("median", "side"), [(None, 320), ((1000, 2000), 320), ((200, 270), 288), ((256, 256), 256), ((64, 48), 256)]
)
def test_input_is_no_larger_than_the_pictures(median: tuple[int, int] | None, side: int) -> None:
    spec, _ = resolved(Facts(n_train=16, median_size_hw=median))
    assert spec.network is not None
    assert spec.network.input.size_hw == (side, side)


def test_wishes_stay() -> None:
    spec, decisions = resolved(Facts(n_train=16), lr=0.001, warmup_epochs=3)
    assert (spec.train.lr, spec.train.warmup_epochs) == (0.001, 3)
    assert not {"train.lr", "train.warmup_epochs"} & set(decisions)


@pytest.mark.parametrize(("size", "fits"), [(96, False), (320, True)])
def test_more_queries_than_places_are_refused_before_training(size: int, fits: bool) -> None:
    backbone = backbones.describe("timm/resnet18")
    values = {
        "network": {
            "name": "dino",
            "queries": 300,
            "levels": 3,
            "backbone": {"name": "timm/resnet18", "weights": "none"},
            "input": {"size_hw": [size, size], "fit": "letterbox"},
        }
    }
    spec = load_spec(values, lookup=entry)
    if fits:
        resolve(spec, Facts(n_train=16, backbone=backbone))
        return
    with pytest.raises(SpecError, match=r"300 queries can't be chosen among 189 places"):
        resolve(spec, Facts(n_train=16, backbone=backbone))


def test_more_objects_than_queries_is_told() -> None:
    _, decisions = resolved(Facts(n_train=16, most_labels=180))
    assert decisions["network.queries"].kind == "warning"
    assert "180 objects, of which no more than 100 can be found" in decisions["network.queries"].reason


@pytest.mark.parametrize(("train", "epochs"), [({}, 300), ({"minutes": 20, "by_clock": True}, 10_000)])
def test_by_the_clock_the_minutes_end_the_training(train: dict[str, Any], epochs: int) -> None:
    spec, _ = resolved(Facts(n_train=16), **train)
    assert spec.train.epochs == epochs
