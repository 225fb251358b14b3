"""Masks as the outlines of their classes, for formats that hold outlines and no masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from espalier.data.index import Index, kinds_of
from espalier.data.outlines import as_text
from espalier.data.segments import Segments
from espalier.tasks.segmentation.prediction import BACKGROUND, region_rle
from espalier.vision import rle
from espalier.vision.class_maps import ignored


def as_outlines(index: Index) -> tuple[Index, int]:
    """The index with a run-length region for each class that a mask shows, and how many pixels are of none.

    Pictures without a mask, as merged sets have them, keep the outlines of their objects.
    The background is what no region covers, so it is no class any more. Raises DataError for a mask that can't be used.
    """
    if index.masks is None:
        return index, 0
    is_region = np.array([name != BACKGROUND for name in index.classes], np.bool_)
    kept = index.keep_annotations(is_region[index.class_id])
    texts, box_M4, size_hw, unknown = [], np.zeros((len(kept.class_id), 4), np.float32), kept.size_hw.copy(), 0
    for row, mask in enumerate(index.masks):
        rows = range(int(kept.offsets[row]), int(kept.offsets[row + 1]))
        if mask is None:
            texts += [kept.segments.raw(m) for m in rows]
            box_M4[rows.start : rows.stop] = kept.box_xyxy[rows.start : rows.stop]
            continue
        class_HW = mask.read()
        size_hw[row] = mask.size_hw
        unknown += int(np.count_nonzero(class_HW == ignored(class_HW.dtype)))
        for m in rows:
            region = region_rle(class_HW, int(kept.class_id[m]))
            texts.append(as_text(region))
            box_M4[m] = rle.extent(rle.spans_of(region), mask.size_hw[0])
    segments = Segments.of(texts)
    outlined = replace(
        kept, masks=None, segments=segments, box_xyxy=box_M4, size_hw=size_hw, kinds=kinds_of(box_M4, segments)
    )
    return outlined.with_classes([name for name in index.classes if name != BACKGROUND]), unknown
