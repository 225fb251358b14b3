"""What `data check` looks for in masks: their size, and whether anything is known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from espalier.data.findings import Finding
from espalier.data.index import Index
from espalier.data.scan import Scan


def bad_masks(index: Index, seen: Scan) -> Iterator[Finding]:
    """Masks of another size than their picture, and masks in which every pixel is ignored."""
    if index.masks is None:
        return
    counts = np.diff(index.offsets)
    if len(index) and not counts.any():
        what = "every pixel of every mask is ignored: there is nothing to learn or to score"
        yield Finding("error", "all-ignored", index.source, what, "give the values that mean something a class")
        return
    for row, mask in enumerate(index.masks):
        if mask is None:
            continue
        height, width = seen.size_hw[row].tolist()
        if seen.readable[row] and tuple(mask.size_hw) != (height, width):
            what = f"the mask has {mask.size_hw[1]} × {mask.size_hw[0]} px, its picture {width} × {height}"
            yield Finding("error", "mask-size", mask.path, what, "export it at the picture's own size", (row,))
        if not counts[row]:
            what = "every pixel of the mask is ignored"
            yield Finding("warning", "all-ignored", mask.path, what, "nothing is learnt from it: take it out", (row,))
