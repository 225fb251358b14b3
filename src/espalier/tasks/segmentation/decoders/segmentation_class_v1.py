"""Segmenters that say a class for each pixel of their input: SegFormer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.errors import ModelError, Problem
from espalier.tasks.outputs import output, switch
from espalier.tasks.segmentation.prediction import SegmentMap
from espalier.vision.class_maps import cells_shown, dtype_of, exact, to_source
from espalier.vision.geometry import Geometry


class SegmentationClass:
    """`class` (B, H, W), whole numbers at the input's size; `logits` (B, C, h, w), a map of the whole input.

    A pixel of the source has the class of the input's pixel that its middle lies in; what the input does not show, as
    beyond a crop, that of the nearest pixel. With `exact` (false) the logits are bilinear at the source's own pixels,
    and each has the class of the highest: slower, and finer where the input is smaller than the source. `sure_C` is
    the mean softmax of the cells of the map whose highest logit is that class's.
    """

    name = "segmentation_class"
    version = 1

    def __call__(
        self,
        outputs: Mapping[str, NDArray[Any]],
        geometries: Sequence[Geometry],
        classes: Sequence[str],
        params: Mapping[str, Any],
    ) -> list[SegmentMap]:
        is_exact = switch(params, "exact", False)
        class_BHW, logits_BChw = _checked(outputs, geometries, len(classes))
        dtype = dtype_of(len(classes))
        found = []
        for class_HW, logits_Chw, geometry in zip(class_BHW, logits_BChw, geometries, strict=True):
            said_HW = exact(logits_Chw, geometry) if is_exact else to_source(class_HW, geometry)
            height, width = cells_shown(logits_Chw.shape[1:], geometry)
            sure_C = _sure(logits_Chw[:, :height, :width])
            found.append(SegmentMap.of(said_HW.astype(dtype, copy=False), sure_C=sure_C))
        return found


def _checked(
    outputs: Mapping[str, NDArray[Any]], geometries: Sequence[Geometry], classes: int
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    logits_BChw = output(outputs, "logits")
    if "class" not in outputs:
        raise ModelError(Problem("", "the model gives no output 'class'", f"it gives: {', '.join(outputs)}"))
    class_BHW = np.asarray(outputs["class"])
    if logits_BChw.ndim != 4 or logits_BChw.shape[:2] != (len(geometries), classes):
        what = f"output 'logits' has shape {logits_BChw.shape}"
        raise ModelError(Problem("", what, f"expected {(len(geometries), classes, 'height', 'width')}"))
    wanted = [(len(geometries), *geometry.input_hw) for geometry in geometries]
    if any(class_BHW.shape != shape for shape in wanted) or class_BHW.dtype.kind not in "iu":
        what = f"output 'class' has shape {class_BHW.shape} and type {class_BHW.dtype}"
        raise ModelError(Problem("", what, f"expected whole numbers of shape {wanted[0] if wanted else ()}"))
    if class_BHW.size and not 0 <= int(class_BHW.min()) <= int(class_BHW.max()) < classes:
        raise ModelError(Problem("", f"output 'class' holds {int(class_BHW.max())}", f"class ids below {classes}"))
    return class_BHW, logits_BChw


def _sure(logits_Chw: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """(C,) the mean probability of each class where it is the most probable one; NaN where it never is."""
    classes = logits_Chw.shape[0]
    flat_CP = logits_Chw.reshape(classes, -1).astype(np.float32)
    best_P = flat_CP.argmax(axis=0)
    highest_P = flat_CP.max(axis=0)
    probability_P = 1.0 / np.exp(flat_CP - highest_P).sum(axis=0)
    count_C = np.bincount(best_P, minlength=classes)
    sum_C = np.bincount(best_P, weights=probability_P, minlength=classes)
    mean_C = np.divide(sum_C, count_C, out=np.full(classes, np.nan), where=count_C > 0)
    return np.asarray(mean_C, np.float32)


DECODER = SegmentationClass()
