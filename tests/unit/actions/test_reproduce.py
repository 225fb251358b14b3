"""What `reproduce` tells of a training that is not as published."""

from __future__ import annotations

import pytest

from espalier.actions.models import lookup
from espalier.actions.reproduce import Published, _over, _step_changed, published_spec
from espalier.networks.published_results import find
from espalier.spec.load import load_spec

NAME = "dino_r50_4scale_12ep"  # 16 pictures in a step, 2 in a batch


@pytest.mark.parametrize(
    ("devices", "train", "told"),
    [
        (8, {}, []),
        (3, {}, ["pictures in a step: 16 → 12"]),
        (16, {}, ["pictures in a step: 16 → 32"]),
        (1, {"batch_size": 4}, ["pictures in a step: 16 → 32"]),
        (1, {"batch_size": "auto"}, ["pictures in a step: 16 → auto"]),
    ],
)
def test_another_number_of_pictures_in_a_step_is_told(devices: int, train: dict[str, object], told: list[str]) -> None:
    published = Published(NAME, *find(NAME))
    theirs = published_spec(published, "coco", devices)
    ours, _ = _over(theirs, load_spec({"train": train}, lookup=lookup))
    assert _step_changed(published, ours, devices) == told
