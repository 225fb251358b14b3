"""Training pictures of detectors: boxes land where the pixels land, whatever is done to a picture.

Each object is a rectangle of its own colour. After every change it is found again by its colour, and the target's box
must be the box of what is seen, within a pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from espalier.data.augment import augment, mosaic
from espalier.data.augment.crops import random_part
from espalier.data.augment.placing import random_place
from espalier.data.formats import read_index
from espalier.data.loader import TrainingLoader
from espalier.data.samples import Samples
from espalier.errors import SpecError
from espalier.spec.training import AugmentSpec
from espalier.tasks.base import Annotations, ImageQuery, Sample, get
from espalier.tasks.detection.task import TASK
from espalier.vision.boxes import xyxy_from_cxcywh
from espalier.vision.prepare import Prepare, ValidInput, standard_prepare

STILL: dict[str, Any] = {"scale": (1, 1), "hflip": 0, "brightness": 0, "contrast": 0, "saturation": 0}
COLOURS = np.array([(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0), (250, 0, 250), (0, 250, 250)], np.uint8)
CLASSES = tuple("abcdef")
FITS = {
    "letterbox": standard_prepare((96, 128), fit="letterbox", resample="nearest"),  # type: ignore[arg-type]
    "stretch": standard_prepare((96, 128), fit="stretch", resample="nearest"),  # type: ignore[arg-type]
    "capped_edges": standard_prepare((96, 128), fit="capped_edges", resample="nearest", multiple=16),  # type: ignore[arg-type]
    "longest_edge": standard_prepare((96, 128), fit="longest_edge", resample="nearest"),  # type: ignore[arg-type]
}  # fmt: skip
CHANGES: Mapping[str, dict[str, Any]] = {
    "still": {},
    "flips": {"hflip": 1.0, "vflip": 1.0},
    "resized crop": {"scale": (0.3, 0.9), "hflip": 0.5},
    "jitter": {"jitter": (0.3, 2.0), "hflip": 0.5},
    "sizes": {"sizes": (48, 64, 96), "hflip": 1.0},
    "crop": {"crop": 1.0, "crop_edges": (60, 80), "crop_px": (40, 70), "sizes": (64, 96), "vflip": 0.5},
}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def drawn(height: int, width: int, colours: list[int], seed: int) -> Sample:
    """A grey picture with a rectangle of each colour, none over another, and its labels."""
    draw = rng(seed)
    image = np.full((height, width, 3), 90, np.uint8)
    found = []
    strip = width // len(colours)
    for n, colour in enumerate(colours):
        w, h = int(draw.integers(strip // 3, strip - 1)), int(draw.integers(height // 4, height - 1))
        left, top = n * strip + int(draw.integers(0, strip - w)), int(draw.integers(0, height - h))
        image[top : top + h, left : left + w] = COLOURS[colour]
        found.append((left, top, left + w, top + h))
    labels = Annotations(np.array(colours), np.array(found, np.float32), np.zeros(len(colours), bool))
    return TASK.sample(ImageQuery(image), labels, CLASSES, name=str(seed), group="")


def seen(image_HWC: np.ndarray, colour: int) -> np.ndarray | None:
    """The box around the pixels of that colour."""
    y, x = np.nonzero((image_HWC == COLOURS[colour]).all(axis=2))
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) if len(x) else None


def boxes_in(targets: Mapping[str, Any], valid_hw: tuple[int, int]) -> dict[int, np.ndarray]:
    """The target's boxes, in pixels, by class."""
    height, width = valid_hw
    placed = xyxy_from_cxcywh(targets["box_N4"]) * (width, height, width, height)
    return dict(zip(targets["class_N"].tolist(), placed, strict=True))


def check(image_HWC: np.ndarray, targets: Mapping[str, Any], valid_hw: tuple[int, int], colours: list[int]) -> int:
    """Every object that is seen has its box and the other way round; how many there are."""
    found = boxes_in(targets, valid_hw)
    for colour in colours:
        box = seen(image_HWC, colour)
        if box is not None and (box[2:] - box[:2] > 1).all():
            np.testing.assert_allclose(found[colour], box, atol=1.0, err_msg=f"colour {colour}")
        elif colour in found:
            assert (found[colour][2:] - found[colour][:2]).min() < 2.01
    return len(found)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("fit", FITS)
@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.integers(60, 260), st.integers(60, 260))
def test_boxes_land_where_the_pixels_land(change: str, fit: str, seed: int, height: int, width: int) -> None:
    sample = drawn(height, width, [0, 1], seed)
    spec = AugmentSpec(**{**STILL, **CHANGES[change]})
    found = augment(sample.query.image_HWC, FITS[fit], spec, rng(seed))
    (geometry,) = found.geometries
    assert geometry.source_hw == (height, width)
    assert geometry.input_hw == found.image_HWC.shape[:2]
    check(found.image_HWC, TASK.targets(sample, geometry, CLASSES), geometry.valid_hw, [0, 1])
    outside = np.ones(found.image_HWC.shape[:2], bool)
    outside[: geometry.valid_hw[0], : geometry.valid_hw[1]] = False
    assert not found.image_HWC[outside].any()
    assert found.image_HWC[~outside].any(axis=1).all()


@pytest.mark.parametrize("fit", FITS)
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.tuples(st.integers(40, 300), st.integers(40, 300)), min_size=4, max_size=4))
def test_a_mosaic_has_the_boxes_of_all_four(fit: str, seed: int, sizes: list[tuple[int, int]]) -> None:
    samples = [drawn(h, w, [n], seed + n) for n, (h, w) in enumerate(sizes)]
    spec = AugmentSpec(**{**STILL, "hflip": 0.5, "vflip": 0.5, "mosaic": 1.0})
    found = mosaic([s.query.image_HWC for s in samples], FITS[fit], spec, rng(seed))
    valid_hw = found.geometries[0].valid_hw
    assert {g.valid_hw for g in found.geometries} == {valid_hw}
    assert {g.input_hw for g in found.geometries} == {found.image_HWC.shape[:2]}
    assert found.image_HWC[: valid_hw[0], : valid_hw[1]].any(axis=2).all()  # no gap
    each = [TASK.targets(s, g, CLASSES) for s, g in zip(samples, found.geometries, strict=True)]
    check(found.image_HWC, TASK.merged(each), valid_hw, [0, 1, 2, 3])


def test_a_mosaic_keeps_regions_and_what_was_not_labelled() -> None:
    labels = Annotations(
        np.array([0, 1, 2]),
        np.array([[0, 0, 9, 9], [2, 2, 8, 8], [np.nan] * 4], np.float32),
        np.array([False, True, False]),
        ignored_xyxy=np.array([[1, 1, 5, 5]], np.float32),
    )
    sample = TASK.sample(ImageQuery(np.zeros((10, 10, 3), np.uint8)), labels, CLASSES, name="", group="")
    plain = drawn(10, 40, [3, 4], 0)
    found = mosaic([s.query.image_HWC for s in (sample, plain, sample, plain)], FITS["letterbox"], AugmentSpec(), rng())
    whole = TASK.merged([
        TASK.targets(s, g, CLASSES) for s, g in zip((sample, plain, sample, plain), found.geometries, strict=True)
    ])  # fmt: skip
    assert whole["unlabelled_U"].tolist() == [2]
    assert sorted(whole["ignored_class_K"].tolist()) == [-1, -1, 1, 1]
    assert set(whole["class_N"].tolist()) <= {0, 3, 4}


def test_depths_meet_in_that_of_the_first() -> None:
    light, deep = np.full((40, 40, 3), 100, np.uint8), np.full((40, 40, 3), 100 * 257, np.uint16)
    spec = AugmentSpec(**STILL)
    for images, value in (([light, deep, deep, light], 100), ([deep, light, deep, light], 25700)):
        assert np.unique(mosaic(images, FITS["stretch"], spec, rng()).image_HWC).tolist() == [value]


# ---- ranges ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(20, 900), st.integers(20, 900))
def test_jitter_draws_the_size_over_the_fitted_one(seed: int, height: int, width: int) -> None:
    rule = FITS["letterbox"].input()
    spec = AugmentSpec(**{**STILL, "jitter": (0.5, 2.0)})
    place = random_place((height, width), rule, spec, rng(seed))
    assert rule.resize is not None
    own = rule.resize.size_of((height, width))
    left, top, right, bottom = place.box
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    for size, whole, part, source in zip(
        place.size_hw, own, (bottom - top, right - left), (height, width), strict=True
    ):
        factor = size / whole * source / part
        slack = 1 / part + 1 / size + 0.01
        assert 0.5 * (1 - slack) <= factor <= 2 * (1 + slack)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(300, 900), st.integers(300, 900))
def test_the_crop_is_detrs(seed: int, height: int, width: int) -> None:
    spec = AugmentSpec(crop=1.0, crop_edges=(500,), crop_px=(384, 600))
    left, top, right, bottom = random_part((height, width), spec, rng(seed))
    scale = 500 / min(height, width)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    for part, source in ((bottom - top, height), (right - left, width)):
        assert 384 - scale <= part * scale <= min(600, source * scale) + scale


def test_sizes_are_drawn_and_never_larger_than_the_input() -> None:
    spec = AugmentSpec(**{**STILL, "sizes": (48, 64, 4096)})
    image = np.zeros((200, 240, 3), np.uint8)
    found = {augment(image, FITS["capped_edges"], spec, rng(n)).geometries[0].valid_hw for n in range(30)}
    assert found == {(48, 57), (64, 76), (96, 115)}
    found = {augment(image, FITS["letterbox"], spec, rng(n)).geometries[0].valid_hw for n in range(30)}
    assert found == {(48, 58), (64, 77), (96, 115)}
    assert augment(image, FITS["letterbox"], spec, rng()).image_HWC.shape == (96, 128, 3)


# ---- slivers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("min_visible", "found"), [(0.0, [0, 1]), (0.2, [0]), (1.0, [])])
def test_an_object_that_is_hardly_seen_is_neither_right_nor_wrong(min_visible: float, found: list[int]) -> None:
    labels = Annotations(np.array([0, 1]), np.array([[0, 0, 40, 40], [35, 0, 85, 40]], np.float32), np.zeros(2, bool))
    sample = TASK.sample(ImageQuery(np.zeros((40, 100, 3), np.uint8)), labels, CLASSES, name="", group="")
    rule = standard_prepare((40, 39), fit="centre_crop").input()
    _, geometry = rule.place(sample.query.image_HWC)
    left = round(-geometry.offset_xy[0])
    assert (left, geometry.input_hw) == (30, (40, 39))  # of 0: a quarter; of 1: 34 of 50 px
    cut = TASK.cut(sample, geometry, min_visible=min_visible)
    targets = TASK.targets(cut, geometry, CLASSES)
    expected = {0.0: [0, 1], 0.2: [0, 1], 0.5: [1], 1.0: []}[min_visible]
    assert targets["class_N"].tolist() == expected
    assert sorted([*targets["class_N"].tolist(), *targets["ignored_class_K"].tolist()]) == [0, 1]


def test_a_whole_object_is_never_cut() -> None:
    sample = drawn(77, 131, [0, 1, 2], 3)
    for fit in ("letterbox", "stretch", "capped_edges"):
        _, geometry = FITS[fit].place(sample.query.image_HWC)
        assert TASK.cut(sample, geometry, min_visible=1.0).target is sample.target


# ---- batches ---------------------------------------------------------------------------------------------------------

ALL = AugmentSpec(mosaic=0.5, jitter=(0.5, 1.5), sizes=(32, 48), crop=0.3, scale=(1, 1), hue=0.1, blur=0.3)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of boxes beside pictures of many sizes."""
    root = tmp_path_factory.mktemp("boxes")
    lines = ["path,label,xmin,ymin,xmax,ymax"]
    for n in range(10):
        sample = drawn(50 + 9 * n, 120 - 7 * n, [n % 3, 3 + n % 3], n)
        Image.fromarray(sample.query.image_HWC).save(root / f"{n}.png")
        for c, box in zip(sample.target.class_id, sample.target.box_xyxy, strict=True):
            lines.append(f"{n}.png,{CLASSES[c]}," + ",".join(str(int(v)) for v in box))
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root / "labels.csv"


def loader(photos: Path, spec: AugmentSpec | None, *, fit: str = "capped_edges", **how: Any) -> TrainingLoader:
    index = read_index(str(photos))
    prepare = Prepare(FITS[fit].inputs, valid=(ValidInput(),))
    wanted = {"batch_size": 4, "workers": 0, "seed": 5, "classes": index.classes, **how}
    return TrainingLoader(Samples(index, TASK), TASK, prepare, spec, **wanted)


def test_the_same_batches_whoever_makes_them(photos: Path) -> None:
    with loader(photos, ALL, workers=2) as two:
        for one, other in zip(loader(photos, ALL).epoch(2), two.epoch(2), strict=True):
            assert one.names == other.names
            assert all((one.inputs[name] == other.inputs[name]).all() for name in one.inputs)
            for name in ("box_N4", "class_N", "ignored_K4"):
                assert all((a == b).all() for a, b in zip(one.targets[name], other.targets[name], strict=True)), name
        later = list(two.epoch(2, start_batch=1))
        assert (later[0].inputs["image"] == list(loader(photos, ALL).epoch(2))[1].inputs["image"]).all()


@pytest.mark.parametrize("spec", [None, AugmentSpec(**{**STILL, "sizes": (48, 96), "mosaic": 0.5})])
def test_pictures_of_a_batch_are_padded_to_the_largest(photos: Path, spec: AugmentSpec | None) -> None:
    batch = next(loader(photos, spec).epoch(0))
    image, valid_hw = batch.inputs["image"].numpy(), batch.inputs["valid_hw"].numpy()
    assert len({tuple(size) for size in valid_hw}) > 1
    assert (image.shape[2] % 16, image.shape[3] % 16) == (0, 0)
    for n, (height, width) in enumerate(valid_hw):
        shown = np.rint(image[n] * 255).astype(np.uint8).transpose(1, 2, 0)
        assert not shown[height:].any()
        assert not shown[:, width:].any()
        targets = {name: batch.targets[name][n].numpy() for name in ("box_N4", "class_N")}
        assert len(targets["class_N"]) > 0
        for c, box in zip(targets["class_N"], xyxy_from_cxcywh(targets["box_N4"]), strict=True):
            x1, y1, x2, y2 = (box * (width, height, width, height)).round().astype(int)
            inner = shown[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].reshape(-1, 3)
            assert (inner == COLOURS["abcdef".index(read_index(str(photos)).classes[c])]).all()


def test_mosaic_rests_when_mixing_does(photos: Path) -> None:
    spec = AugmentSpec(**{**STILL, "mosaic": 1.0})
    assert sum(map(len, next(loader(photos, spec).epoch(0)).targets["class_N"])) > 12  # two a picture otherwise
    resting, plain = loader(photos, spec).epoch(0, mix=False), loader(photos, AugmentSpec(**STILL)).epoch(0)
    for one, other in zip(resting, plain, strict=True):
        assert (one.inputs["image"] == other.inputs["image"]).all()


def test_no_mosaic_of_pictures_whose_labels_have_no_places(photos: Path) -> None:
    task = get("classification")
    samples = Samples(read_index(str(photos)), task)
    with pytest.raises(SpecError, match="belong to whole pictures"):
        TrainingLoader(samples, task, FITS["stretch"], ALL, batch_size=2, workers=0, seed=0, classes=CLASSES)


def test_a_network_that_is_not_told_of_padding_needs_one_size(photos: Path) -> None:
    index = read_index(str(photos))
    part = TrainingLoader(
        Samples(index, TASK), TASK, FITS["longest_edge"], None, batch_size=4, workers=0, seed=0, classes=index.classes
    )
    with pytest.raises(SpecError, match="not told of padding"):
        next(part.epoch(0))
