"""The masks that every instance decoder draws: each answer's kernel times one map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from espalier.errors import ModelError, Problem
from espalier.tasks.base import Decoder
from espalier.tasks.detection.prediction import Detections
from espalier.tasks.instance.prediction import Instances, Rle
from espalier.tasks.outputs import number, output
from espalier.vision import boxes
from espalier.vision.geometry import Geometry
from espalier.vision.mask_maps import Window, to_source

MARGIN = 0.1  # of a box's sides: so far beyond its box a mask may reach, and at least a cell of the map


class Outlining:
    """The boxes of a detection decoder, with its parameters, each with the mask of `outlined`."""

    def __init__(self, name: str, version: int, boxes: Decoder) -> None:
        self.name, self.version, self._boxes = name, version, boxes

    def __call__(
        self,
        outputs: Mapping[str, NDArray[Any]],
        geometries: Sequence[Geometry],
        classes: Sequence[str],
        params: Mapping[str, Any],
    ) -> list[Instances]:
        return outlined(self._boxes(outputs, geometries, classes, params), outputs, geometries, params)


def outlined(
    found: Sequence[Detections],
    outputs: Mapping[str, NDArray[Any]],
    geometries: Sequence[Geometry],
    params: Mapping[str, Any],
) -> list[Instances]:
    """The boxes, each with the mask of its answer (`query`, the row of the raw outputs).

    `mask_kernels` (B, Q, E); `mask_features` (B, E, h, w), a map of the whole input, whose cells are whole pixels wide
    and high from the top left on: the last ones may reach beyond the input. The logits of answer q are the sum over e
    of kernel times feature, bilinear between the middles of cells; a pixel of the source is the object's where they are
    above those of `mask_threshold` (0.5) at its middle, and no further than `MARGIN` outside the box.
    """
    level = float(logit(number(params, "mask_threshold", 0.5, low=0.01, high=0.99)))
    kernel_BQE, feature_BEhw = _checked(outputs)
    return [
        _with_masks(said, _Masks(kernel_QE, feature_Ehw, geometry, level))
        for said, kernel_QE, feature_Ehw, geometry in zip(found, kernel_BQE, feature_BEhw, geometries, strict=True)
    ]


def _checked(outputs: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    kernel_BQE, feature_BEhw = output(outputs, "mask_kernels"), output(outputs, "mask_features")
    answers = np.shape(outputs["logits"])[:2]
    if kernel_BQE.ndim != 3 or kernel_BQE.shape[:2] != answers:
        what = f"output 'mask_kernels' has shape {kernel_BQE.shape}"
        raise ModelError(Problem("", what, f"expected {(*answers, 'channels')}, a kernel for each answer"))
    if feature_BEhw.ndim != 4 or feature_BEhw.shape[:2] != (answers[0], kernel_BQE.shape[2]):
        what = f"output 'mask_features' has shape {feature_BEhw.shape}"
        raise ModelError(Problem("", what, f"expected {(answers[0], kernel_BQE.shape[2], 'height', 'width')}"))
    return kernel_BQE, feature_BEhw


def _with_masks(said: Detections, masks: _Masks) -> Instances:
    """An answer that is said of two classes has one mask."""
    assert said.query is not None
    first, row_of = np.unique(said.query, return_index=True, return_inverse=True)[1:]
    drawn = [masks(int(said.query[row]), said.box_xyxy[row]) for row in first]
    mask = [drawn[i] for i in row_of.ravel()]
    return Instances(said.box_xyxy, said.score, said.class_id, said.query, said.threshold, mask=mask)


class _Masks:
    """Draws the masks of one picture, each from the part of the map that its box needs."""

    def __init__(
        self, kernel_QE: NDArray[np.float64], feature_Ehw: NDArray[np.float64], geometry: Geometry, level: float
    ) -> None:
        self.kernel_QE, self.feature_Ehw, self.geometry, self.level = kernel_QE, feature_Ehw, geometry, level
        height, width = geometry.input_hw
        self.step_xy = np.ceil(np.array([width, height]) / feature_Ehw.shape[:0:-1])
        self.seen_xyxy = _seen(geometry)

    def __call__(self, query: int, box_xyxy: NDArray[Any]) -> Rle:
        window = self._window(box_xyxy)
        (left, top), (right, bottom) = self._cells(window)
        logits_hw = np.tensordot(self.kernel_QE[query], self.feature_Ehw[:, top:bottom, left:right], 1) - self.level
        return to_source(logits_hw, window, (left, top), (self.step_xy[0], self.step_xy[1]), self.geometry)

    def _window(self, box_xyxy: NDArray[Any]) -> Window:
        """The box and its margin, in whole pixels of the source, where the input shows it."""
        start, end = box_xyxy[:2].astype(np.float64), box_xyxy[2:].astype(np.float64)
        margin = np.maximum(MARGIN * (end - start), self.step_xy / np.abs(self.geometry.scale_xy))
        first, last = self.seen_xyxy[:2], self.seen_xyxy[2:]
        left, top = np.clip(np.floor(start - margin), first, last).astype(int).tolist()
        right, bottom = np.clip(np.ceil(end + margin), first, last).astype(int).tolist()
        return left, top, right, bottom

    def _cells(self, window: Window) -> tuple[list[int], list[int]]:
        """First and end of the cells whose middles lie around the window's pixels; one at least."""
        (x1, y1, x2, y2) = self.geometry.boxes_to_input(np.array([window]))[0]
        size_xy = np.array(self.feature_Ehw.shape[:0:-1])
        first = np.clip(np.floor(np.array([x1, y1]) / self.step_xy - 0.5), 0, size_xy - 1).astype(int)
        end = np.clip(np.ceil(np.array([x2, y2]) / self.step_xy + 0.5), first + 1, size_xy).astype(int)
        return first.tolist(), end.tolist()


def _seen(geometry: Geometry) -> NDArray[np.float64]:
    """The part of the source that the input shows, to whole pixels outwards."""
    height, width = geometry.valid_hw
    seen_xyxy = geometry.boxes_to_source(np.array([[0, 0, width, height]]))[0]
    outwards = np.concatenate([np.floor(seen_xyxy[:2]), np.ceil(seen_xyxy[2:])])
    return np.asarray(boxes.clip(outwards[None], geometry.source_hw)[0])
