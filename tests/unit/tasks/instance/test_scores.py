"""Objects without an outline, regions, comparisons, intervals, and what a report shows."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.tasks.instance.scenes import SIZE, drawn, ellipse, said, samples, scored, truth

from espalier.blocks import Table
from espalier.errors import DataError
from espalier.tasks.instance import TASK
from espalier.vision.masks import encode_rle

ONE, OTHER = ellipse(40, 40, 20, 15), ellipse(110, 70, 25, 30)


def test_an_object_without_an_outline_counts_for_boxes_alone() -> None:
    """It is neither asked for nor are masks in it wrong."""
    boxed = (80, 40, 140, 100)
    found = scored([(said((ONE, 0, 0.9), (ellipse(110, 70, 20, 20), 0, 0.95)), truth((ONE, 0), (boxed, 0)))], 1)
    assert found.figures["ap50"].value == pytest.approx(1)
    assert found.figures["box_ap50"].value == pytest.approx(0.25, abs=0.01)  # the surer box overlaps its object by 0.44
    with pytest.raises(DataError, match="no labelled object"):
        scored([(said(), truth((boxed, 0)))], 1)


def test_masks_in_regions_where_nothing_counts_are_not_wrong() -> None:
    alarm = (OTHER, 0, 0.95)
    scene = said((ONE, 0, 0.9), alarm)
    assert scored([(scene, truth((ONE, 0)))], 1).figures["ap50"].value == pytest.approx(0.5)
    for free in ({"ignored": [(80, 30, 160, 120)]}, {"unlabelled": [0]}):
        assert scored([(scene, truth((ONE, 0), **free))], 1).figures["ap50"].value == pytest.approx(1)


def test_a_mask_that_is_none_finds_nothing() -> None:
    found = scored([(said((None, 0, 0.9), (ONE, 0, 0.8)), truth((ONE, 0)))], 1)
    assert found.figures["ap50"].value == pytest.approx(0.5)


def test_boundaries_ask_for_more_than_masks() -> None:
    """A large disk whose outline is 4 px too wide: 87 % of the pixels, and hardly any of the rim of 4 px."""
    found = scored([(said((ellipse(80, 60, 54, 54, 64), 0, 0.9)), truth((ellipse(80, 60, 50, 50, 64), 0)))], 1)
    assert found.figures["map"].value > 0.7
    assert found.figures["boundary_map"].value < 0.1


@pytest.mark.parametrize("label", [encode_rle(np.ones(SIZE, bool)), [[150.0, 10, 2000, 10, 150, 60]]])
def test_masks_of_two_sizes_in_a_picture_are_refused(label: object) -> None:
    size_hw = (100, 160) if isinstance(label, dict) else SIZE
    with pytest.raises(DataError, match=r"its picture|far outside"):
        scored([(said((ONE, 0, 0.9), size_hw=size_hw), truth((label, 0), size_hw=(600, 600)))], 1)


def test_all_figures_have_intervals_and_there_is_a_table_of_overlaps() -> None:
    found = scored(drawn(30, 2, seed=3), bootstrap=50)
    for key in ("map", "ap50", "boundary_map", "box_map", "box_ap75"):
        figure = found.figures[key]
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value <= figure.high
    table = next(b for b in found.blocks if isinstance(b, Table) and "boundaries" in b.title)
    assert [row[0] for row in table.rows] == ["all", "c0", "c1"]
    assert "mask" in found.figures["map"].name
    assert found.suggested["threshold"].value >= 0


def test_the_better_model_is_told() -> None:
    scenes = drawn(25, 2, seed=4)
    metrics = TASK.metrics(["c0", "c1"])
    metrics.update([p[p.score > 0.7] for p, _ in scenes], samples([t for _, t in scenes]))
    whole, part = scored(scenes), metrics.compute()
    found = TASK.compare(part, whole, bootstrap=60, seed=0)
    assert found.verdict == "better"
    assert found.figure.value == pytest.approx(whole.value - part.value)
    others = {figure.name: figure.value for figure in found.others}
    wanted = whole.figures["boundary_map"].value - part.figures["boundary_map"].value
    assert others["boundary AP"] == pytest.approx(wanted)
    assert len(TASK.resample(whole, n=10, seed=0)) == 10


def test_what_is_kept_does_not_grow_with_the_pictures_size() -> None:
    """Numbers of pairs alone, no mask."""
    kept = scored(drawn(3, 2, seed=1)).per_item["boundary"]
    assert len(kept.same_picture.iou) < 500
    assert SIZE == (120, 160)
    assert all(isinstance(column, np.ndarray) for column in vars(kept.columns.objects).values())
