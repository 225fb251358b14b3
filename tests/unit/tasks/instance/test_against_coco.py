"""The same figures as COCO's own evaluation of masks, and as faster-coco-eval's of boundaries."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.unit.tasks.instance.scenes import SIZE, Scene, drawn, scored

from espalier.tasks.instance.overlap import object_rles, rim
from espalier.vision.masks import decode_rle, encode_rle

ORDER = ("map", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100", "ar_small", "ar_medium",
         "ar_large")  # fmt: skip


def of_coco(oracle: str, scenes: Sequence[Scene], classes: int, kind: str) -> NDArray[np.float64]:
    """COCO's twelve figures."""
    if oracle == "pycocotools":
        coco, evaluation = (
            getattr(pytest.importorskip(f"pycocotools.{m}"), name)
            for m, name in (("coco", "COCO"), ("cocoeval", "COCOeval"))
        )
    else:
        package = importlib.import_module("faster_coco_eval")
        coco, evaluation = package.COCO, package.COCOeval_faster
    objects: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for i, (prediction, target) in enumerate(scenes):
        for row, mask in enumerate(object_rles(target, SIZE)):
            objects.append({
                **_at(i, target.class_id[row], target.box_xyxy[row]), "segmentation": mask, "id": len(objects) + 1,
                "area": float(target.area[row]), "iscrowd": int(target.is_crowd[row]),
            })  # fmt: skip
        for row, mask in enumerate(prediction.mask):
            place = _at(i, prediction.class_id[row], prediction.box_xyxy[row])
            shape = {} if kind == "bbox" else {"segmentation": mask}
            found.append({**place, **shape, "score": float(prediction.score[row])})
    data = {
        "info": {},
        "images": [{"id": 10 + 3 * i, "width": SIZE[1], "height": SIZE[0]} for i in range(len(scenes))],
        "annotations": objects,
        "categories": [{"id": 7 + 5 * c, "name": f"c{c}"} for c in range(classes)],
    }
    if kind != "bbox":
        for one in found:
            del one["bbox"]
    with contextlib.redirect_stdout(io.StringIO()):
        labels = coco()
        labels.dataset = data
        labels.createIndex()
        run = evaluation(labels, labels.loadRes(found), kind)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return np.asarray(run.stats[:12])


def _at(picture: int, class_id: int, box: NDArray[np.float32]) -> dict[str, Any]:
    left, top, right, bottom = box.astype(float).tolist()
    return {"image_id": 10 + 3 * picture, "category_id": 7 + 5 * int(class_id),
            "bbox": [left, top, right - left, bottom - top]}  # fmt: skip


@pytest.mark.parametrize("oracle", ["faster_coco_eval", "pycocotools"])
@pytest.mark.parametrize(
    ("pictures", "classes", "objects", "answers"), [(25, 3, 5, 12), (10, 1, 8, 30), (2, 2, 9, 250)]
)
def test_twelve_figures_of_masks(oracle: str, pictures: int, classes: int, objects: int, answers: int) -> None:
    scenes = drawn(pictures, classes, seed=pictures, objects=objects, answers=answers)
    found = scored(scenes, classes)
    ours = [found.figures[key].value if key in found.figures else -1.0 for key in ORDER]
    np.testing.assert_allclose(ours, of_coco(oracle, scenes, classes, "segm"), atol=1e-9)


@pytest.mark.parametrize(("key", "kind"), [("boundary", "boundary"), ("box", "bbox")])
def test_figures_of_boundaries_and_boxes(key: str, kind: str) -> None:
    scenes = drawn(20, 2, seed=5)
    found = scored(scenes)
    ours = [found.figures[f"{key}_{name}"].value for name in ORDER[:3]]
    np.testing.assert_allclose(ours, of_coco("faster_coco_eval", scenes, 2, kind)[:3], atol=1e-9)


def test_a_rim_is_that_of_the_published_api() -> None:
    """Its OpenCV path, on masks that touch the picture's edge, have holes, are thin, are empty."""
    theirs = importlib.import_module("faster_coco_eval.core.mask").rleToBoundaryCV
    masks = [decode_rle(mask) for _, target in drawn(6, 2, seed=1) for mask in object_rles(target, SIZE)]
    ring = np.zeros(SIZE, bool)
    ring[:50, 30:90] = True
    ring[20:35, 40:70] = False
    for mask in [*masks, ring, np.zeros(SIZE, bool), np.ones(SIZE, bool)]:
        given = encode_rle(mask)
        wanted = decode_rle({**theirs(given), "size": list(SIZE)})
        assert (decode_rle(rim(given)) == wanted).all()
