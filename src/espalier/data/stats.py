"""What a data set consists of, as blocks for a report: counts, classes, sizes of pictures and boxes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from espalier.blocks import Bars, Block, Curve, Figure, Series, Table
from espalier.data.index import UNKNOWN, Index
from espalier.data.scan import Scan
from espalier.errors import EspalierError
from espalier.vision.image import probe

_BINS = 20
_MOST_BARS = 40


def stats(indexes: Mapping[str, Index], seen: Mapping[str, Scan] | None = None) -> tuple[Block, ...]:
    """Blocks that describe the data set. Sizes come from `seen` (the scans) or the labels, else from file headers."""
    sizes = {split: _sizes(index, seen[split] if seen else None) for split, index in indexes.items()}
    blocks: list[Block] = [_sums(indexes), _splits(indexes), *_classes(indexes), *_picture_sizes(sizes)]
    blocks += _pixels(indexes)
    if any(index.kinds & {"box", "polygon", "rle"} for index in indexes.values()):
        blocks += [*_box_sizes(indexes, sizes), *_labels_per_picture(indexes)]
    return tuple(blocks)


def summary(indexes: Mapping[str, Index]) -> dict[str, object]:
    """The counts as plain JSON data."""
    return {
        split: {
            "pictures": len(index),
            "labels": len(index.class_id),
            "kinds": sorted(index.kinds),
            "classes": dict(zip(index.classes, index.picture_counts().tolist())),
            "groups": None if index.group is None else len(set(index.group.tolist())),
            "fingerprint": index.fingerprint(),
        }
        for split, index in indexes.items()
    }


def _sums(indexes: Mapping[str, Index]) -> Table:
    classes = {name for index in indexes.values() for name in index.classes}
    pictures, labels = (sum(map(len, column)) for column in zip(*((i, i.class_id) for i in indexes.values())))
    return Table("Data", ("pictures", "classes", "labels"), [[pictures, len(classes), labels]])


def _splits(indexes: Mapping[str, Index]) -> Table:
    rows = [
        [split, len(index), len(index.class_id), int((np.diff(index.offsets) == 0).sum()),
         "none" if index.group is None else len(set(index.group.tolist())), ", ".join(sorted(index.kinds))]
        for split, index in indexes.items()
    ]  # fmt: skip
    return Table("Parts", ("part", "pictures", "labels", "without label", "groups", "kinds of label"), rows)


def _classes(indexes: Mapping[str, Index]) -> list[Block]:
    names = list(dict.fromkeys(name for index in indexes.values() for name in index.classes))
    counts = {split: dict(zip(index.classes, index.picture_counts().tolist())) for split, index in indexes.items()}
    total = {name: sum(part.get(name, 0) for part in counts.values()) for name in names}
    largest = sorted(names, key=lambda name: -total[name])
    shown = largest[:_MOST_BARS]
    note = f"the {_MOST_BARS} largest of {len(names)} classes" if len(names) > _MOST_BARS else ""
    rows = [[name, *(part.get(name, 0) for part in counts.values())] for name in largest]
    bars = Bars("Pictures of each class", shown, [total[name] for name in shown], note=note)
    return [bars, Table("Classes", ("class", *counts), rows)]


def _pixels(indexes: Mapping[str, Index]) -> list[Block]:
    """How many pixels of masks each class has."""
    masked = {split: index for split, index in indexes.items() if index.masks is not None}
    if not masked:
        return []
    found = {split: index.pixel_counts() for split, index in masked.items()}
    names = next(iter(masked.values())).classes
    rows: list[list[str | float | int | Figure | None]] = [
        [name, *(Figure("share", float(pixels[c] / max(1.0, pixels.sum())), unit="%") for pixels in found.values())]
        for c, name in enumerate(names)
    ]
    return [Table("Pixels of each class", ("class", *found), rows, "of the pixels that are not ignored")]


def _sizes(index: Index, seen: Scan | None) -> NDArray[np.int32]:
    """(n, 2) the sizes that are known."""
    if seen is not None:
        return seen.size_hw[seen.readable]
    if len(index) and (index.size_hw != UNKNOWN).all():
        return index.size_hw
    found = [_size_of(index.path(row)) for row in range(len(index))]
    return np.array([size for size in found if size], np.int32).reshape(-1, 2)


def _size_of(path: str) -> tuple[int, int] | None:
    try:
        return probe(path).size_hw
    except EspalierError:  # `data check` tells of it
        return None


def _picture_sizes(sizes: Mapping[str, NDArray[np.int32]]) -> list[Block]:
    every = np.concatenate(list(sizes.values()))
    if not len(every):
        return []
    side = np.sqrt(every.prod(axis=1, dtype=np.float64))
    ratio = every[:, 1] / every[:, 0]
    rows: list[list[str | float | int | Figure | None]] = [
        [what, float(column.min()), float(np.median(column)), float(column.max())]
        for what, column in (("height, px", every[:, 0]), ("width, px", every[:, 1]), ("width / height", ratio))
    ]
    return [
        Table("Picture sizes", ("", "smallest", "median", "largest"), rows),
        _histogram("Picture sizes", "side of a square of the same area, px", "pictures", side),
    ]


def _box_sizes(indexes: Mapping[str, Index], sizes: Mapping[str, NDArray[np.int32]]) -> list[Block]:
    boxes = np.concatenate([index.box_xyxy for index in indexes.values()])
    boxes = boxes[np.isfinite(boxes).all(axis=1)].astype(np.float64)
    extent = boxes[:, 2:] - boxes[:, :2]
    side = np.sqrt(extent[(extent > 0).all(axis=1)].prod(axis=1))
    if not len(side):
        return []
    limits = [0, 32, 96, np.inf]
    counts = np.histogram(side, limits)[0]
    bars = Bars("Boxes by COCO's sizes", ("small, under 32 px", "medium", "large, over 96 px"), counts.tolist())
    return [bars, _histogram("Box sizes", "side of a square of the same area, px", "boxes", side)]


def _labels_per_picture(indexes: Mapping[str, Index]) -> list[Block]:
    counts = np.concatenate([np.diff(index.offsets) for index in indexes.values()])
    return [_histogram("Labels on a picture", "labels", "pictures", counts.astype(np.float64))] if len(counts) else []


def _histogram(title: str, x_label: str, y_label: str, values: NDArray[np.float64]) -> Block:
    """A curve of counts; of values that are all the same, one bar."""
    if values.min() == values.max():
        return Bars(title, [f"{values[0]:g}"], [len(values)], note=x_label)
    counts, edges = np.histogram(values, min(_BINS, max(2, int(np.ptp(values)))))
    middle = (edges[1:] + edges[:-1]) / 2
    return Curve(title, x_label, y_label, [Series(y_label, middle.tolist(), counts.tolist())])
