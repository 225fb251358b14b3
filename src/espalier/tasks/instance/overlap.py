"""How much the masks that are said overlap those that are labelled, in one picture; by their pixels and by their rims.

The rim of a mask are its pixels within 2 % of the picture's diagonal of its outline (Boundary IoU, Cheng et al., CVPR
2021, arXiv 2103.16562). As their API does, an overlap of rims counts as no more than that of the masks, and a crowd is
judged by its pixels alone. Equal to faster-coco-eval's iouType 'segm' and 'boundary'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.detection.budget import BACKGROUND
from espalier.tasks.detection.collected import Truth
from espalier.tasks.instance.prediction import Instances
from espalier.tasks.instance.sample import InstanceTarget, check
from espalier.vision import boxes, rle
from espalier.vision.masks import filled_rle, packed, runs_of

RIM = 0.02  # of the picture's diagonal


@dataclass(frozen=True)
class Overlaps:
    """Of n masks that are said and the g rows of a Truth."""

    masks: NDArray[np.float64]  # (n, g); over the mask's own pixels where the row is a crowd
    rims: NDArray[np.float64]  # (n, g)
    area: NDArray[np.float64]  # (n,) px² of the masks that are said


def overlaps(said: Instances, truth: Truth, target: InstanceTarget) -> Overlaps:
    """Overlaps with objects and regions alike. The size of the picture is that of the masks that are said.

    Raises DataError for run lengths that don't add up, and where labels or answers are of another size.
    """
    size_hw = next((_size(mask) for mask in said.mask if mask is not None), None)
    if size_hw is None:
        nothing = np.zeros((len(said), len(truth)))
        return Overlaps(nothing, nothing, np.zeros(len(said)))
    said_rle, area = _checked(said, size_hw)
    placed = [*object_rles(target, size_hw), *_rectangles(target.ignored_xyxy, size_hw)]
    crowd_P = np.concatenate([target.is_crowd | ~target.has_outline, np.ones(len(target.ignored_xyxy), np.bool_)])
    mask_NP = _iou(said_rle, placed, crowd_P)
    rim_NP = np.where(crowd_P[None], mask_NP, np.minimum(mask_NP, _rim_iou(said_rle, placed, mask_NP, ~crowd_P)))
    whole_N1 = (area > 0).astype(np.float64)[:, None]
    mask_NG, rim_NG = (np.concatenate([each, whole_N1], axis=1)[:, truth.place] for each in (mask_NP, rim_NP))
    return Overlaps(mask_NG, rim_NG, area)


def object_overlaps(said: Instances, target: InstanceTarget, size_hw: tuple[int, int]) -> NDArray[np.float64]:
    """(n, objects) intersection over union of the masks; with the box of an object that has no outline."""
    said_rle, _ = _checked(said, size_hw)
    return _iou(said_rle, object_rles(target, size_hw), np.zeros(len(target), np.bool_))


def object_rles(target: InstanceTarget, size_hw: tuple[int, int]) -> list[dict[str, Any]]:
    """The mask of each object, its box where it has no outline. Raises DataError for one of another size."""
    boxed = iter(_rectangles(target.box_xyxy[~target.has_outline], size_hw))
    return [next(boxed) if outline is None else _as_rle(outline, size_hw) for outline in target.outline]


def _as_rle(outline: Any, size_hw: tuple[int, int]) -> dict[str, Any]:
    check(outline, size_hw, "outline")
    if isinstance(outline, Mapping):
        return {"size": list(size_hw), "counts": packed(runs_of(outline)[0])}
    return filled_rle(outline, size_hw)


def _size(mask: Mapping[str, Any]) -> tuple[int, int]:
    return int(mask["size"][0]), int(mask["size"][1])


def _rectangles(box_N4: NDArray[Any], size_hw: tuple[int, int]) -> list[dict[str, Any]]:
    return [
        rle.placed(np.ones((bottom - top, right - left), np.bool_), left, top, size_hw)
        for left, top, right, bottom in np.rint(boxes.clip(box_N4, size_hw)).astype(int).tolist()
    ]


def _checked(said: Instances, size_hw: tuple[int, int]) -> tuple[list[dict[str, Any]], NDArray[np.float64]]:
    """(what native code may see, px² of each mask)."""
    found, area = [], np.zeros(len(said))
    for row, mask in enumerate(said.mask):
        runs = np.array([size_hw[0] * size_hw[1]]) if mask is None else runs_of(mask)[0]
        if mask is not None:
            check(mask, size_hw, "mask")
        text = mask["counts"] if mask is not None and isinstance(mask["counts"], str) else packed(runs)
        found.append({"size": list(size_hw), "counts": text})
        area[row] = runs[1::2].sum()
    return found, area


def _iou(
    a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]], crowd_M: NDArray[np.bool_]
) -> NDArray[np.float64]:
    from faster_coco_eval.core import mask as coco_mask

    if not a or not b:
        return np.zeros((len(a), len(b)))
    return np.asarray(coco_mask.iou(list(a), list(b), crowd_M.astype(int).tolist()), np.float64).reshape(len(a), len(b))


def _rim_iou(
    a: Sequence[Mapping[str, Any]],
    b: Sequence[Mapping[str, Any]],
    mask_NM: NDArray[np.float64],
    asked_M: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """(N, M); only rims are drawn of masks that overlap enough for it to matter."""
    found_NM = np.zeros(mask_NM.shape)
    near_NM = (mask_NM >= BACKGROUND) & asked_M
    rows, columns = (np.flatnonzero(near_NM.any(axis=axis)).tolist() for axis in (1, 0))
    rims_a, rims_b = [rim(a[row]) for row in rows], [rim(b[column]) for column in columns]
    found_NM[np.ix_(rows, columns)] = _iou(rims_a, rims_b, np.zeros(len(columns), np.bool_))
    return found_NM


def rim(mask: Mapping[str, Any]) -> dict[str, Any]:
    """The RLE of a mask's rim. What lies outside the picture is outside the mask."""
    import cv2

    size_hw = _size(mask)
    width = max(1, round(RIM * float(np.hypot(*size_hw))))
    part_HW, left, top = rle.cut_out(mask)
    padded = np.pad(part_HW.astype(np.uint8), 1)
    inner = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
    return rle.placed(part_HW & (inner == 0), left, top, size_hw)
