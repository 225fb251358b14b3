"""What is chosen for FCOS."""

from __future__ import annotations

from typing import Any

import pytest

from espalier.networks.registry import entry
from espalier.spec.facts import Facts
from espalier.spec.load import load_spec
from espalier.spec.resolve import resolve


def chosen(train: dict[str, Any], **network: Any) -> Any:
    asked = {"name": "fcos", "preset": "nano", "backbone": {"name": "timm/resnet18", "weights": "none"}, **network}
    return resolve(load_spec({"network": asked, "train": train}, lookup=entry), Facts(n_train=500))[0]


@pytest.mark.parametrize(("pictures", "rate"), [(1, 4e-4), (4, 4e-4), (16, 8e-4)])
def test_rate_grows_with_the_root_of_a_step_s_pictures(pictures: int, rate: float) -> None:
    assert chosen({"batch_size": pictures}).train.lr == rate


@pytest.mark.parametrize(("detections", "candidates"), [(100, 1000), (20, 1000), (300, 3000)])
def test_enough_answers_are_looked_at_for_every_object(detections: int, candidates: int) -> None:
    assert chosen({}, detections=detections).network.candidates == candidates
    assert chosen({}, detections=detections, candidates=50).network.candidates == 50
