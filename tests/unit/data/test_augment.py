"""Augmentation: geometry that holds, values that stay in range, mixing that adds up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.data.augment import augment, mix
from espalier.data.augment.colour import coloured
from espalier.data.augment.crops import random_box
from espalier.data.augment.turns import rotated
from espalier.spec.training import AugmentSpec
from espalier.vision.prepare import standard_prepare

OFF = AugmentSpec(scale=(1, 1), hflip=0, brightness=0, contrast=0, saturation=0)
PREPARE = standard_prepare((24, 32), fit="stretch")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_switched_off_it_is_deployment() -> None:
    image = rng().integers(0, 255, (40, 50, 3), dtype=np.uint8)
    found = augment(image, PREPARE, OFF, rng())
    changed, geometry = found.image_HWC, found.geometries[0]
    placed, expected = PREPARE.place(image)
    np.testing.assert_array_equal(changed, placed)
    assert geometry == expected


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(20, 90), st.integers(20, 90), st.booleans(), st.booleans())
def test_the_geometry_leads_to_where_the_pixels_went(
    seed: int, height: int, width: int, across: bool, down: bool
) -> None:
    """A bright square is found where the map says, within a pixel of the input."""
    image = np.zeros((height, width, 3), np.uint8)
    top, left = height // 3, width // 3
    image[top : top + 8, left : left + 8] = 255
    spec = OFF.model_copy(update={"scale": (0.6, 1.0), "hflip": float(across), "vflip": float(down)})
    found = augment(image, PREPARE, spec, rng(seed))
    changed, geometry = found.image_HWC, found.geometries[0]
    assert changed.shape == (24, 32, 3)
    x1, y1, x2, y2 = geometry.boxes_to_input(np.array([[left, top, left + 8, top + 8]]))[0]
    if x1 < 1 or y1 < 1 or x2 > 31 or y2 > 23:
        return
    y, x = np.nonzero(changed[:, :, 0] > 127)
    assert abs(x.mean() + 0.5 - (x1 + x2) / 2) <= 1
    assert abs(y.mean() + 0.5 - (y1 + y2) / 2) <= 1


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 200), st.integers(1, 200))
def test_boxes_lie_inside_and_keep_to_the_area(seed: int, height: int, width: int) -> None:
    spec = AugmentSpec(scale=(0.3, 0.9))
    x1, y1, x2, y2 = random_box((height, width), spec, rng(seed))
    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height
    if min(height, width) > 50 and max(height, width) < 1.2 * min(height, width):
        assert 0.28 <= (x2 - x1) * (y2 - y1) / (height * width) <= 0.92


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_kind_of_picture(bands: int, dtype: type) -> None:
    channels = {1: "grey", 3: "rgb", 4: "rgba"}.get(bands, "bands")
    prepare = standard_prepare(
        (16, 16), fit="stretch", channels=channels, bands=bands, mean=(0,) * bands, std=(1,) * bands
    )  # type: ignore[arg-type]
    image = rng().integers(0, np.iinfo(dtype).max, (30, 20, bands)).astype(dtype)
    spec = AugmentSpec(vflip=1, rotate_deg=20, hue=0.2, blur=1, noise=1, erase=1, brightness=0.9, contrast=0.9)
    found = augment(image, prepare, spec, rng(3))
    changed = found.image_HWC
    assert found.is_turned
    assert changed.shape == (16, 16, bands)
    assert changed.dtype == dtype
    np.testing.assert_array_equal(changed, augment(image, prepare, spec, rng(3)).image_HWC)


def test_colour_changes_by_hand() -> None:
    grey = np.full((4, 4, 3), 100, np.uint8)
    lighter = OFF.model_copy(update={"brightness": 0.5})
    factor = 1 + np.random.default_rng(5).uniform(-1, 1, 3)[2] * 0.5
    assert coloured(grey, lighter, np.random.default_rng(5))[0, 0].tolist() == [round(100 * factor)] * 3
    # saturation and hue leave grey as it is, contrast leaves the mean as it is
    other = OFF.model_copy(update={"saturation": 0.9, "hue": 0.5, "contrast": 0.9})
    np.testing.assert_array_equal(coloured(grey, other, rng(1)), grey)
    alpha = np.concatenate([grey, np.full((4, 4, 1), 7, np.uint8)], axis=2)
    assert (coloured(alpha, lighter, rng(5))[:, :, 3] == 7).all()


def test_a_rotation_by_a_half_turn() -> None:
    image = rng().integers(0, 255, (9, 12, 5), dtype=np.uint8)
    np.testing.assert_array_equal(rotated(image, 180), image[::-1, ::-1])


def batch(count: int = 6) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    images = np.stack([np.full((3, 8, 8), n, np.float32) for n in range(count)])
    return {"image": images}, {"class_C": np.eye(count, dtype=np.float32)}


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.5, 0.5)])
def test_labels_are_mixed_as_the_pixels_are(mixup: float, cutmix: float) -> None:
    for seed in range(20):
        inputs, targets = batch()
        mixed, labels = mix(
            inputs, targets, OFF.model_copy(update={"mixup": mixup, "cutmix": cutmix}), rng(seed), ("class_C",)
        )
        np.testing.assert_allclose(labels["class_C"].sum(axis=1), 1, rtol=1e-6)
        expected = labels["class_C"] @ np.arange(6, dtype=np.float32)  # the mean pixel is the mean label
        np.testing.assert_allclose(mixed["image"].mean(axis=(1, 2, 3)), expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(inputs["image"], batch()[0]["image"])


def test_what_can_not_be_mixed_is_left_alone() -> None:
    inputs, targets = batch()
    spec = OFF.model_copy(update={"mixup": 1.0})
    same, labels = mix(inputs, {**targets, "box_N4": []}, spec, rng(), ("class_C",))
    assert same["image"] is inputs["image"]
    assert labels["class_C"] is targets["class_C"]
