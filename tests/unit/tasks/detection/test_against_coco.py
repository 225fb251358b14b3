"""The same figures as COCO's own evaluation, to the last digits."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.unit.tasks.detection.scenes import Scene, drawn, said, scored, truth

from espalier.blocks import Figure, Table

ORDER = ("map", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100", "ar_small", "ar_medium",
         "ar_large")  # fmt: skip


def of_coco(oracle: str, scenes: Sequence[Scene], classes: int) -> tuple[NDArray[np.float64], Any]:
    """COCO's twelve figures and its evaluation, with ids that neither begin at 1 nor are in a row."""
    if oracle == "pycocotools":
        coco, evaluation = (
            getattr(pytest.importorskip(f"pycocotools.{m}"), name)
            for m, name in (("coco", "COCO"), ("cocoeval", "COCOeval"))
        )
    else:
        package = importlib.import_module("faster_coco_eval")
        coco, evaluation = package.COCO, package.COCOeval_faster
    objects, found = [], []
    for i, (prediction, target) in enumerate(scenes):
        place = {"image_id": 10 + 3 * i}
        for row in range(len(target)):
            objects.append({**place, **_box(target.box_xyxy[row], int(target.class_id[row])), "id": len(objects) + 1,
                            "area": float(target.area[row]), "iscrowd": int(target.is_crowd[row])})  # fmt: skip
        for row in range(len(prediction)):
            box = _box(prediction.box_xyxy[row], int(prediction.class_id[row]))
            found.append({**place, **box, "score": float(prediction.score[row])})
    data = {
        "info": {},
        "images": [{"id": 10 + 3 * i, "width": 1000, "height": 1000} for i in range(len(scenes))],
        "annotations": objects,
        "categories": [{"id": 7 + 5 * c, "name": f"c{c}"} for c in range(classes)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        labels = coco()
        labels.dataset = data
        labels.createIndex()
        run = evaluation(labels, labels.loadRes(found), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return np.asarray(run.stats[:12]), run


def _box(box: NDArray[np.float32], class_id: int) -> dict[str, Any]:
    left, top, right, bottom = box.astype(float).tolist()
    return {"bbox": [left, top, right - left, bottom - top], "category_id": 7 + 5 * class_id}


@pytest.mark.parametrize("oracle", ["faster_coco_eval", "pycocotools"])
@pytest.mark.parametrize(
    ("pictures", "classes", "objects", "boxes"), [(40, 3, 4, 15), (25, 1, 6, 30), (6, 4, 2, 5), (3, 2, 90, 250)]
)
def test_twelve_figures(oracle: str, pictures: int, classes: int, objects: int, boxes: int) -> None:
    """The last case has more than 100 boxes of a class in a picture."""
    scenes = drawn(pictures, classes, seed=pictures, objects=objects, boxes_each=boxes)
    theirs, run = of_coco(oracle, scenes, classes)
    found = scored(scenes, classes)
    ours = [found.figures[key].value if key in found.figures else -1.0 for key in ORDER]
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    table = next(block for block in found.blocks if isinstance(block, Table) and block.title == "Each class")
    for c, row in enumerate(table.rows):
        cells = np.asarray(run.eval["precision"])[:, :, c, 0, -1]
        average = row[2]
        assert (average is None) == (cells[cells > -1].size == 0)
        if isinstance(average, Figure):
            assert average.value == pytest.approx(cells[cells > -1].mean(), abs=1e-9)


@pytest.mark.parametrize("oracle", ["faster_coco_eval", "pycocotools"])
def test_equal_boxes_and_edges_of_the_ranges(oracle: str) -> None:
    """Overlaps and areas that lie on a threshold, equal overlaps with two objects, an object without area."""
    square, half, empty = (0, 0, 32, 32), (0, 0, 16, 32), (50, 50, 50, 60)
    scenes = [
        (said((half, 0, 0.9), (square, 0, 0.8), (square, 0, 0.7)), truth((square, 0), (square, 0), (half, 0))),
        (said((square, 0, 0.6), ((0, 0, 96, 96), 1, 0.5)), truth(((0, 0, 96, 96), 1), (square, 0), crowd=[1])),
        (said((empty, 0, 0.4)), truth((empty, 0))),
    ]
    theirs, _ = of_coco(oracle, scenes, 2)
    found = scored(scenes)
    ours = [found.figures[key].value if key in found.figures else -1.0 for key in ORDER]
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
