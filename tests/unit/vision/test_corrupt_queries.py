"""Queries corrupted: in the network's pixels or their own, whatever pictures they have; padding and boxes stay."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from espalier.tasks.base import ImageQuery
from espalier.vision.corruptions import Corruption, corrupt
from espalier.vision.corruptions.queries import corrupt_placed, corrupt_query
from espalier.vision.prepare import BoxesInput, Prepare, PrepareInput, Resize, standard_prepare

NOISE = Corruption("gaussian_noise", 3)


def image(height: int, width: int, bands: int = 3) -> NDArray[np.uint8]:
    return np.full((height, width, bands), 90, np.uint8)


@dataclass(frozen=True)
class PairQuery:
    """Two pictures and boxes."""

    image_HWC: NDArray[Any]
    other_HWC: NDArray[Any]
    box_xyxy: NDArray[Any] = field(default_factory=lambda: np.array([[2.0, 2.0, 8.0, 8.0]]))


def test_placing_and_finishing_is_preparing() -> None:
    prepare = standard_prepare((32, 32), fit="letterbox", mean=(0.5,) * 3, std=(0.25,) * 3)
    query = ImageQuery(image(20, 40))
    whole, parts = prepare(query), prepare.finished(prepare.placed(query))
    assert np.array_equal(whole.arrays["image"], parts.arrays["image"])
    assert whole.geometry == parts.geometry


def test_padding_stays_and_the_picture_is_corrupted_as_if_alone() -> None:
    prepare = standard_prepare((32, 32), fit="letterbox", pad_value=7)
    placed = prepare.placed(ImageQuery(image(20, 40)))
    found = corrupt_placed(placed, prepare, NOISE, seed=0, key="a").images["image"]
    assert (found[16:] == 7).all()
    assert np.array_equal(found[:16], corrupt(image(16, 32), "gaussian_noise", 3, seed=0, key="a"))
    assert (placed.images["image"][:16] == 90).all()


def test_each_picture_of_a_query_draws_for_itself_and_boxes_stay() -> None:
    def part(name: str) -> PrepareInput:
        return PrepareInput(name, name, steps=(Resize("stretch", (16, 16)),))

    prepare = Prepare((part("image"), part("other")), (BoxesInput(),))
    query = PairQuery(image(16, 16), image(16, 16))
    placed = prepare.placed(query)
    found = corrupt_placed(placed, prepare, NOISE, seed=0, key="a")
    assert not np.array_equal(found.images["image"], found.images["other"])
    assert found.boxes is placed.boxes
    assert found.geometries is placed.geometries
    own = corrupt_query(query, prepare, NOISE, seed=0, key="a")
    assert np.array_equal(own.image_HWC, found.images["image"])
    assert np.array_equal(own.other_HWC, found.images["other"])
    assert own.box_xyxy is query.box_xyxy


def test_four_bands_are_bands_and_alpha_is_alpha() -> None:
    for channels, stays in (("bands", False), ("rgba", True)):
        prepare = Prepare((PrepareInput(channels=channels, bands=4, steps=()),))  # type: ignore[arg-type]
        placed = prepare.placed(ImageQuery(image(8, 8, 4)))
        found = corrupt_placed(placed, prepare, NOISE, seed=0, key="a").images["image"]
        assert (found[..., 3] == 90).all() == stays


@pytest.mark.parametrize("at", ["input", "source"])
def test_a_camera_that_uses_12_of_16_bits_is_corrupted_as_one_that_uses_all(at: str) -> None:
    def found(value: int, high: int) -> NDArray[Any]:
        prepare = standard_prepare((32, 32), value_range=(0, high))
        query = ImageQuery(np.full((32, 32, 3), value, np.uint16))
        if at == "source":
            return corrupt_query(query, prepare, NOISE, seed=0, key="a").image_HWC
        return corrupt_placed(prepare.placed(query), prepare, NOISE, seed=0, key="a").images["image"]

    assert np.abs(found(1600, 4095) / 4095 - found(25606, 65535) / 65535).max() < 1 / 4095
    assert found(1600, 4095).std() > 100


def test_alpha_of_16_bits_stays() -> None:
    prepare = standard_prepare((8, 8), channels="rgba", bands=4, mean=(0.5,) * 4, std=(0.5,) * 4, value_range=(0, 4095))
    image_HWC = np.full((8, 8, 4), 65535, np.uint16)
    image_HWC[..., :3] = 1600
    found = corrupt_query(ImageQuery(image_HWC), prepare, NOISE, seed=0, key="a").image_HWC
    assert (found[..., 3] == 65535).all()
    assert (found[..., :3] != 1600).any()
