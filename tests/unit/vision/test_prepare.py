"""Prepare: the libraries' numbers, depth and channels by rule, the way back, and a strict JSON form."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from espalier.errors import ImageError, ModelError
from espalier.vision.geometry import Geometry
from espalier.vision.prepare import (
    BoxesInput,
    CentreCrop,
    Normalise,
    Pad,
    PadMultiple,
    Prepare,
    PrepareInput,
    Resize,
    ValidInput,
    standard_prepare,
)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Query:
    image_HWC: NDArray[Any]


@dataclass(frozen=True)
class Pair:
    image_HWC: NDArray[Any]
    reference_HWC: NDArray[Any]
    box_xyxy: NDArray[Any]


def noise(height: int, width: int, bands: int = 3, dtype: Any = np.uint8) -> NDArray[Any]:
    rng = np.random.default_rng(height * 1000 + width)
    return rng.integers(0, np.iinfo(dtype).max, (height, width, bands), dtype=dtype, endpoint=True)


def by_torchvision(image_HWC: NDArray[Any], resize_px: int, crop_px: int) -> NDArray[Any]:
    """torchvision's Resize(int) and CenterCrop on a Pillow picture, written out."""
    height, width = image_HWC.shape[:2]
    short, long = min(height, width), max(height, width)
    new_long = int(resize_px * long / short)
    size_wh = (resize_px, new_long) if width <= height else (new_long, resize_px)
    resized = np.asarray(Image.fromarray(image_HWC).resize(size_wh, Image.Resampling.BICUBIC))
    top = round((resized.shape[0] - crop_px) / 2.0)
    left = round((resized.shape[1] - crop_px) / 2.0)
    return resized[top : top + crop_px, left : left + crop_px]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(height=st.integers(1, 200), width=st.integers(1, 200), size=st.integers(8, 64), fraction=st.floats(0.6, 1))
def test_centre_crop_is_torchvisions(height: int, width: int, size: int, fraction: float) -> None:
    prepare = standard_prepare((size, size), resample="pillow_bicubic", crop_fraction=fraction, mean=MEAN, std=STD)
    image_HWC = noise(height, width)
    expected = by_torchvision(image_HWC, math.floor(size / fraction), size)
    placed, geometry = prepare.place(image_HWC)
    np.testing.assert_array_equal(placed, expected)
    assert geometry.source_hw == (height, width)
    assert geometry.input_hw == (size, size)


def test_pixels_are_the_textbooks_normalisation() -> None:
    image_HWC = noise(9, 11)
    prepare = standard_prepare((9, 11), fit="stretch", mean=MEAN, std=STD)
    expected = ((image_HWC / 255 - MEAN) / STD).transpose(2, 0, 1)
    out = np.empty((3, 9, 11), np.float32)
    assert prepare.pixels(image_HWC, out=out) is out
    np.testing.assert_allclose(out, expected, atol=1e-6)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    height=st.integers(1, 5000), width=st.integers(1, 5000), fit=st.sampled_from(
        ["stretch", "centre_crop", "letterbox", "longest_edge", "capped_edges"]),
    size=st.tuples(st.integers(8, 900), st.integers(8, 900)),
    points=st.lists(st.tuples(st.integers(0, 5000), st.floats(0, 5000, width=32)), min_size=1, max_size=9),
)  # fmt: skip
def test_points_come_back_exactly(
    height: int, width: int, fit: Any, size: tuple[int, int], points: list[tuple[float, float]]
) -> None:
    rule = standard_prepare(size, fit=fit, crop_fraction=0.875).input()
    geometry = _geometry(rule, (height, width))
    points_N2 = np.round(np.array(points, np.float64) * 4096) / 4096
    np.testing.assert_array_equal(geometry.to_source(geometry.to_input(points_N2)), points_N2)
    whole = geometry.boxes_to_input(np.array([[0, 0, width, height]]))
    np.testing.assert_array_equal(geometry.boxes_to_source(whole), [[0, 0, width, height]])


def _geometry(rule: PrepareInput, source_hw: tuple[int, int]) -> Any:
    """The map without the pixels, so that the test may ask for large pictures."""
    assert rule.resize is not None
    geometry = Geometry.stretch(source_hw, rule.resize.size_of(source_hw))
    for step in (rule.crop, rule.pad):
        if step is not None:
            geometry = geometry.then(step.geometry(geometry.input_hw))
    return geometry


def test_letterbox_keeps_the_shape_and_pads_right_and_bottom() -> None:
    prepare = standard_prepare((64, 96), fit="letterbox", pad_value=114)
    placed, geometry = prepare.place(noise(100, 50))
    assert placed.shape == (64, 96, 3)
    assert geometry.valid_hw == (64, 32)
    assert (placed[:, 32:] == 114).all()
    np.testing.assert_allclose(geometry.to_input(np.array([[50, 100]])), [[32, 64]])


@pytest.mark.parametrize(("dtype", "high"), [(np.uint8, 255), (np.uint8, 65535), (np.uint16, 255), (np.uint16, 65535)])
def test_depth_is_brought_over(dtype: Any, high: int) -> None:
    prepare = standard_prepare((4, 4), channels="grey", bands=1, value_range=(0, high), mean=(0.0,), std=(1.0,))
    top = np.iinfo(dtype).max
    image_HWC = np.array([[0, top], [top // 5, top // 5 * 2]], dtype)[:, :, None]
    np.testing.assert_allclose(prepare.pixels(image_HWC)[0], [[0, 1], [0.2, 0.4]], atol=1e-6)


def test_channels_are_made_and_bands_are_counted() -> None:
    grey = standard_prepare((8, 8), channels="grey", bands=1, mean=(0.0,), std=(1.0,))
    assert grey(Query(noise(20, 20))).arrays["image"].shape == (1, 8, 8)
    five = standard_prepare((8, 8), channels="bands", bands=5, mean=(0.0,) * 5, std=(1.0,) * 5)
    assert five(Query(noise(20, 20, 5))).arrays["image"].shape == (5, 8, 8)
    with pytest.raises(ImageError, match="3 bands"):
        five(Query(noise(20, 20)))
    with pytest.raises(ImageError, match="3 channels"):
        grey.pixels(noise(8, 8))


def test_a_pair_of_pictures_and_boxes_are_inputs_too() -> None:
    rule = standard_prepare((32, 32), fit="letterbox").input()
    reference = PrepareInput("reference", "reference", "grey", 1, steps=(Resize("stretch", (16, 16)),))
    prepare = Prepare((rule, reference), (BoxesInput(),))
    assert Prepare.from_json(json.loads(json.dumps(prepare.to_json()))) == prepare
    prepared = prepare(Pair(noise(64, 32), noise(10, 10), np.array([[0, 0, 32, 64], [2, 4, 6, 8]])))
    assert {name: a.shape for name, a in prepared.arrays.items()} == {
        "image": (3, 32, 32), "reference": (1, 16, 16), "boxes": (2, 4)}  # fmt: skip
    np.testing.assert_array_equal(prepared.arrays["boxes"], [[0, 0, 16, 32], [1, 2, 3, 4]])
    assert prepared.geometry == prepared.geometries["image"]
    assert prepared.geometries["reference"].source_hw == (10, 10)


def test_a_long_thin_picture_does_not_fill_the_memory() -> None:
    with pytest.raises(ImageError, match="too long and thin"):
        standard_prepare((224, 224)).place(np.zeros((1, 900_000, 3), np.uint8))
    placed, _ = standard_prepare((224, 224), fit="letterbox").place(np.zeros((1, 900_000, 3), np.uint8))
    assert placed.shape == (224, 224, 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Prepare(()),
        lambda: Prepare((PrepareInput(), PrepareInput())),
        lambda: Prepare((PrepareInput(),), (BoxesInput(frame="other"),)),
        lambda: PrepareInput(steps=(Pad((8, 8)), Resize("stretch", (8, 8)))),
        lambda: PrepareInput(steps=(CentreCrop((8, 8)), CentreCrop((8, 8)))),
        lambda: PrepareInput(channels="grey", bands=3),
        lambda: PrepareInput(value_range=(1.0, 1.0)),
        lambda: PrepareInput(steps=(Normalise((0.5,), (0.5,)),)),
        lambda: Normalise((0.5,), (0.0,)),
        lambda: Normalise((math.nan,), (1.0,)),
        lambda: Resize("stretch", (60_000, 60_000)),
        lambda: Resize("stretch", (8, 8), "lanczos"),  # type: ignore[arg-type]
    ],
)
def test_contradictions_are_model_errors(make: Any) -> None:
    with pytest.raises(ModelError):
        make()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
GOOD = standard_prepare((32, 32), fit="letterbox", mean=MEAN, std=STD).to_json()


def _places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [here, *(place for key in keys for place in _places(value[key], (*here, key)))]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(place=st.sampled_from(_places(GOOD)), value=JSON)
def test_strange_json_is_a_model_error_or_a_prepare(place: tuple[Any, ...], value: Any) -> None:
    changed = json.loads(json.dumps(GOOD))
    if place:
        inner = changed
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
    with contextlib.suppress(ModelError):
        assert Prepare.from_json(changed if place else value).version == 1


def test_an_unknown_version_step_and_field_say_so() -> None:
    for change, message in [
        ({"version": 2}, "version 2 is unknown"),
        ({"inputs": [{**GOOD["inputs"][0], "steps": [{"op": "warp"}]}]}, "'warp' is unknown"),
        ({"inputs": [{**GOOD["inputs"][0], "colour": "bgr"}]}, "unknown field 'colour'"),
        ({"inputs": [{k: v for k, v in GOOD["inputs"][0].items() if k != "steps"}]}, None),
    ]:
        if message is None:
            assert Prepare.from_json({**GOOD, **change}).inputs[0].steps == ()
            continue
        with pytest.raises(ModelError, match=message):
            Prepare.from_json({**GOOD, **change})


def test_the_valid_part_is_an_input_where_a_network_must_not_look_at_padding() -> None:
    letterbox = standard_prepare((64, 96), fit="letterbox")
    prepare = Prepare(letterbox.inputs, valid=(ValidInput(),))
    prepared = prepare(Pair(noise(32, 40), noise(1, 1), np.zeros((0, 4))))
    assert prepared.arrays["valid_hw"].dtype == np.int64
    assert tuple(prepared.arrays["valid_hw"]) == prepared.geometry.valid_hw == (64, 80)
    assert Prepare.from_json(prepare.to_json()) == prepare
    with pytest.raises(ModelError, match="no picture input 'other'"):
        Prepare(letterbox.inputs, valid=(ValidInput(frame="other"),))


# ---- DETR's way: capped edges, padding to a multiple, batches of different sizes -------------------------------------


def detrs_size(width: int, height: int, size: int, max_size: int) -> tuple[int, int]:
    """(height, width) as DETR's published code computes it, written down from the rule."""
    small, large = float(min(width, height)), float(max(width, height))
    if large / small * size > max_size:
        size = int(round(max_size * small / large))  # noqa: RUF046  (as published)
    if (width <= height and width == size) or (height <= width and height == size):
        return height, width
    return (int(size * height / width), size) if width < height else (size, int(size * width / height))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    height=st.integers(8, 6000),
    width=st.integers(8, 6000),
    edges=st.sampled_from([(800, 1333), (480, 1333), (96, 128)]),
)
def test_capped_edges_are_detrs(height: int, width: int, edges: tuple[int, int]) -> None:
    found = Resize("capped_edges", edges).size_of((height, width))
    expected = detrs_size(width, height, *edges)
    if min(expected) > 0:
        assert found == expected
    else:
        assert sorted(found) == [1, max(edges)]
    assert Resize("capped_edges", edges[::-1]).size_of((height, width)) == found


@settings(max_examples=40, deadline=None, derandomize=True)
@given(height=st.integers(4, 300), width=st.integers(4, 300))
def test_capped_edges_give_torchvisions_pixels(height: int, width: int) -> None:
    image_HWC = noise(height, width)
    placed, geometry = standard_prepare((60, 100), fit="capped_edges").place(image_HWC)
    size_hw = detrs_size(width, height, 60, 100)
    if min(size_hw) < 1:
        return
    expected = Image.fromarray(image_HWC).resize(size_hw[::-1], Image.Resampling.BILINEAR)  # what torchvision calls
    np.testing.assert_allclose(placed.astype(int), np.asarray(expected).astype(int), atol=1)
    assert geometry == Geometry.stretch((height, width), size_hw)


def test_pad_to_a_multiple() -> None:
    prepare = standard_prepare((60, 100), fit="capped_edges", multiple=32, pad_value=7)
    placed, geometry = prepare.place(noise(60, 70))
    assert placed.shape == (64, 96, 3)
    assert (geometry.input_hw, geometry.valid_hw) == ((64, 96), (60, 70))
    assert (placed[60:] == 7).all()
    assert (placed[:, 70:] == 7).all()
    assert Prepare.from_json(json.loads(json.dumps(prepare.to_json()))) == prepare
    assert not prepare.one_size
    with pytest.raises(ModelError, match="multiple"):
        PadMultiple(0)


def test_thin_pictures_get_a_least_side() -> None:
    prepare = standard_prepare((60, 100), fit="capped_edges", multiple=32).at_least(70)
    assert [prepare.place(noise(*size))[0].shape[:2] for size in ((6, 100), (60, 70))] == [(96, 128), (96, 96)]
    assert [step.op for step in prepare.input().steps] == ["resize", "pad_multiple", "normalise"]
    assert Prepare.from_json(json.loads(json.dumps(prepare.to_json()))) == prepare
    letterbox = standard_prepare((60, 100), fit="letterbox")
    assert letterbox.at_least(70) == letterbox
    with pytest.raises(ModelError, match="least_px"):
        PadMultiple(1, least_px=0)
