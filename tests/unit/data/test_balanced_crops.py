"""Crops in which no class takes too much: drawn again at another place, by what is labelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from espalier.data.augment import augment
from espalier.data.augment.crops import TRIES
from espalier.data.batches import BatchMaker, Plan
from espalier.data.formats import read_index
from espalier.data.samples import Samples
from espalier.data.tiles import tile_samples
from espalier.errors import SpecError
from espalier.networks.segformer import CARD
from espalier.spec.effects import idle_fields
from espalier.spec.sections import Spec
from espalier.spec.training import AugmentSpec, TrainSpec
from espalier.tasks.base import Annotations, Balanced, ImageQuery, get
from espalier.tasks.segmentation import TASK
from espalier.vision.geometry import Geometry
from espalier.vision.prepare import standard_prepare
from espalier.vision.tiling import Tiling

CLASSES = ("left", "right")
STILL: dict[str, Any] = {"scale": (1, 1), "hflip": 0, "brightness": 0, "contrast": 0, "saturation": 0}
TWICE = {**STILL, "jitter": (2.0, 2.0)}
PREPARE = standard_prepare((32, 64), fit="letterbox", resample="nearest")


def maker(folder: Path, class_HW: np.ndarray, spec: AugmentSpec, *, tiles: bool = False) -> BatchMaker:
    """Of one picture, whose pixels are its mask's values."""
    for name in ("images", "masks"):
        (folder / name).mkdir(exist_ok=True)
        Image.fromarray(class_HW.astype(np.uint8)).save(folder / name / "a.png")
    (folder / "classes.csv").write_text("value,class\n0,left\n1,right\n255,ignore\n")
    samples: Any = Samples(read_index(str(folder)), TASK)
    if tiles:
        samples = tile_samples(samples, Tiling(64, 0.0), least=0.2, background=1.0)
    return BatchMaker(samples, TASK, PREPARE, spec, CLASSES, seed=0)


def crops(making: BatchMaker, count: int = 60) -> list[np.ndarray]:
    return [
        making(Plan(epoch, 0, np.zeros(1, np.int64), mix=True)).targets["class_HW"][0] for epoch in range(count)
    ]  # fmt: skip


def share(class_HW: np.ndarray) -> float:
    pixels = np.bincount(class_HW[class_HW >= 0], minlength=2)
    return float(pixels.max() / pixels.sum()) if pixels.any() else np.nan


HALVES = np.repeat([[0, 1]], 32, axis=0).repeat(32, axis=1)


def test_a_class_takes_no_more_than_its_share(tmp_path: Path) -> None:
    spec = AugmentSpec(**TWICE)
    plain, fair = (
        np.array([share(crop) for crop in crops(maker(tmp_path, HALVES, each))])
        for each in (spec, spec.model_copy(update={"class_share": 0.75}))
    )
    assert (plain > 0.75).mean() > 0.3
    assert (fair <= 0.75).all()
    assert len(np.unique(fair)) > 5  # still drawn, not chosen


def test_pixels_without_a_label_are_not_counted_and_a_part_without_any_is_drawn_again(tmp_path: Path) -> None:
    """The classes meet in the left quarter; all else is ignored."""
    class_HW = np.full((32, 64), 255)
    class_HW[:, :8], class_HW[:, 8:16] = 0, 1
    spec = AugmentSpec(**TWICE, class_share=0.75)
    found = crops(maker(tmp_path, class_HW, spec))
    settled = [crop for crop in found if share(crop) <= 0.75]
    assert len(settled) > 50  # a try hits with 1 in 4 or so, and there are eleven
    assert min((crop >= 0).mean() for crop in settled) < 0.5
    plain = crops(maker(tmp_path, class_HW, AugmentSpec(**TWICE)))
    assert sum(bool((crop < 0).all()) for crop in plain) > 20
    assert sum(bool((crop < 0).all()) for crop in found) <= 3


def test_sizes_are_drawn_as_without_and_a_part_that_suits_at_once_stays(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    spec = AugmentSpec(**{**STILL, "jitter": (0.5, 2.0), "hflip": 0.5})
    for seed in range(20):
        rngs = [np.random.default_rng(seed) for _ in range(3)]
        plain = augment(image, PREPARE, spec, rngs[0])
        same = augment(image, PREPARE, spec, rngs[1], suits=lambda geometry: True)
        moved = augment(image, PREPARE, spec, rngs[2], suits=lambda geometry: False)
        assert same.geometries == plain.geometries
        np.testing.assert_array_equal(same.image_HWC, plain.image_HWC)
        assert [abs(s) for s in moved.geometries[0].scale_xy] == pytest.approx(
            [abs(s) for s in plain.geometries[0].scale_xy]
        )


@pytest.mark.parametrize("change", [{"jitter": (2.0, 2.0)}, {"scale": (0.2, 0.3)}, {"crop": 1.0, "crop_px": (32, 40)}])
def test_every_kind_of_crop_is_drawn_again_ten_times_at_most(change: dict[str, Any]) -> None:
    seen: list[Geometry] = []

    def never(geometry: Geometry) -> bool:
        seen.append(geometry)
        return False

    image = np.zeros((80, 120, 3), np.uint8)
    spec = AugmentSpec(**{**STILL, "crop_edges": (60,), **change})
    last = augment(image, PREPARE, spec, np.random.default_rng(1), suits=never).geometries[0]
    assert len(seen) == TRIES
    assert len({each.offset_xy for each in seen}) > 5
    assert len({each.scale_xy for each in seen}) == 1
    assert last.scale_xy == pytest.approx(seen[0].scale_xy)
    for each in (*seen, last):
        x1, y1, x2, y2 = each.boxes_to_source(np.array([[0, 0, each.valid_hw[1], each.valid_hw[0]]]))[0]
        assert min(x1, y1) > -1e-3
        assert x2 < 120.001
        assert y2 < 80.001


def test_a_whole_picture_is_asked_nothing() -> None:
    def never(geometry: Geometry) -> bool:
        raise AssertionError

    spec = AugmentSpec(**{**STILL, "jitter": (0.5, 1.0)})
    augment(np.zeros((40, 60, 3), np.uint8), PREPARE, spec, np.random.default_rng(0), suits=never)


def test_tiles_too(tmp_path: Path) -> None:
    class_HW = np.zeros((64, 128))
    class_HW[:, 32:64] = 1  # halves of the first tile; the second one has only the first class
    making = maker(tmp_path, class_HW, AugmentSpec(**TWICE, class_share=0.75), tiles=True)
    found = [making(Plan(epoch, 0, np.zeros(1, np.int64), mix=True)).targets["class_HW"][0] for epoch in range(30)]
    assert all(share(crop) <= 0.75 for crop in found)


def test_outlines_are_counted_as_they_are_painted() -> None:
    square = [[0, 0, 10, 0, 10, 10, 0, 10]]
    labels = Annotations(np.array([1]), np.full((1, 4), np.nan, np.float32), np.zeros(1, bool), [square],
                         ignored_xyxy=np.array([[0, 10, 20, 20]], np.float32))  # fmt: skip
    classes = ("background", "weed")
    sample = TASK.sample(ImageQuery(np.zeros((20, 20, 3), np.uint8)), labels, classes, name="a", group="")
    assert TASK.largest_share(sample, Geometry.identity((20, 20))) == pytest.approx(0.5)
    upper = Geometry((20, 20), (10, 10), (1.0, 1.0), (0.0, 0.0), (10, 10))
    assert TASK.largest_share(sample, upper) == 1.0
    lower = Geometry((20, 20), (10, 20), (1.0, 1.0), (0.0, -10.0), (10, 20))
    assert np.isnan(TASK.largest_share(sample, lower))


def test_labels_that_are_not_of_pixels_refuse_it(tmp_path: Path) -> None:
    assert isinstance(TASK, Balanced)
    making = maker(tmp_path, HALVES, AugmentSpec(**STILL))
    with pytest.raises(SpecError, match=r"class_share.*labels of detection are not of pixels"):
        BatchMaker(making.samples, get("detection"), PREPARE, AugmentSpec(class_share=0.75), CLASSES, seed=0)


def test_without_a_crop_it_warns_and_presets_have_it() -> None:
    told = [idle_fields(spec, spec) for spec in (
        Spec(train=TrainSpec(augment=AugmentSpec(**STILL, class_share=0.75))),
        Spec(train=TrainSpec(augment=AugmentSpec(**TWICE, class_share=0.75))),
    )]  # fmt: skip
    assert [field for field, _, _ in told[0]] == ["train.augment.class_share"]
    assert told[1] == []
    for name in ("nano", "small", "base", "segformer_b0_ade_512", "segformer_b5_city_1024"):
        assert CARD.presets[name]["train"]["augment"]["class_share"] == 0.75
