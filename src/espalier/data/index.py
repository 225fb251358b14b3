"""A data set in memory: columns of numpy, one row a picture and one row an annotation, sorted by picture."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier import storage
from espalier.data.findings import Finding
from espalier.data.segments import Segments
from espalier.errors import DataError, Problem
from espalier.tasks.base import Annotations
from espalier.vision.mask_file import MaskFile

UNKNOWN = -1


@dataclass(frozen=True)
class Index:
    """N pictures with M annotations of C classes.

    Boxes are xyxy in source pixels; NaN where the label has no box. Class ids are 0…C-1; `class_ids` are the source's.
    """

    root: str  # what relative paths are relative to
    source: str  # the label file or folder, for messages
    paths: NDArray[np.object_]  # (N,) str, relative to root, absolute or URL
    size_hw: NDArray[np.int32]  # (N, 2), UNKNOWN where the labels don't say
    image_id: NDArray[np.int64]  # (N,) the source's own, or the row
    group: NDArray[np.object_] | None  # (N,) str: what belongs together; None when nothing was said
    classes: tuple[str, ...]
    class_ids: NDArray[np.int64]  # (C,) the source's own
    offsets: NDArray[np.int64]  # (N + 1,) picture i has annotations offsets[i]:offsets[i + 1]
    class_id: NDArray[np.int64]  # (M,) 0…C-1
    box_xyxy: NDArray[np.float32]  # (M, 4)
    is_crowd: NDArray[np.bool_]  # (M,)
    annotation_id: NDArray[np.int64]  # (M,) the source's own, or the row
    line: NDArray[np.int64]  # (M,) line in the label file; 0 where lines mean nothing
    segments: Segments  # (M,)
    kinds: frozenset[str]  # 'label', 'box', 'polygon', 'rle'
    format: str = ""
    findings: tuple[Finding, ...] = field(default=(), compare=False)  # what the reader could not use
    files: NDArray[np.object_] | None = None  # (N,) str: each picture's own label file, or its place in one
    ignored: NDArray[np.object_] | None = None  # (N,) of (k, 4): regions of no class in which nothing counts
    area: NDArray[np.float64] | None = None  # (M,) px² as the labels give it; NaN where they don't
    unlabelled: NDArray[np.bool_] | None = None
    """(N, C + 1) the classes that a picture was not labelled for, last whether that goes for any other class too; None
    where every picture was labelled for all of them."""
    masks: NDArray[np.object_] | None = None
    """(N,) of MaskFile or None: the class of every pixel; then a row of labels is a class that the mask shows, and
    `area` its pixels."""

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def image_row(self) -> NDArray[np.int64]:
        """(M,) the picture of each annotation."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @property
    def multi_label(self) -> bool:
        """Has some picture more than one class?"""
        return len(np.unique(self.picture_class[:, 0])) < len(self.picture_class)

    @cached_property
    def picture_class(self) -> NDArray[np.int64]:
        """(K, 2) the distinct pairs of picture and class."""
        pairs = np.stack([self.image_row, self.class_id], axis=1)
        return np.unique(pairs, axis=0) if len(pairs) else pairs.reshape(0, 2)

    def path(self, row: int) -> str:
        """Where the picture lies: a local path or a URL."""
        return locate(self.root, self.paths[row])

    def name(self, row: int) -> str:
        """The picture's name for people: its path as the labels give it."""
        return str(self.paths[row])

    def where(self, annotation: int) -> str:
        """Names an annotation for a message: file and line, or file and id, or the picture."""
        row = int(self.image_row[annotation])
        file = self.source if self.files is None else str(self.files[row])
        if self.line[annotation]:
            return f"{file}:{int(self.line[annotation])}"
        if self.format == "folders":
            return self.name(row)
        return f"{file}: annotation {int(self.annotation_id[annotation])}"

    def ignored_xyxy(self, row: int) -> NDArray[np.float32]:
        """(k, 4) the regions of a picture in which nobody labelled, whatever the class."""
        return np.zeros((0, 4), np.float32) if self.ignored is None else self.ignored[row]

    def ignored_count(self) -> int:
        """How many such regions there are."""
        return 0 if self.ignored is None else sum(map(len, self.ignored))

    def annotations(self, row: int) -> Annotations:
        """The labels of one picture; outlines are decoded here. Raises DataError for an outline that is malformed."""
        start, stop = int(self.offsets[row]), int(self.offsets[row + 1])
        part = slice(start, stop)
        has_outlines = bool((self.segments.stop_M[part] > self.segments.start_M[part]).any())
        outlines: tuple[Any, ...] = tuple(self.segments[m] for m in range(start, stop)) if has_outlines else ()
        return Annotations(
            self.class_id[part],
            self.box_xyxy[part],
            self.is_crowd[part],
            outlines,
            self.ignored_xyxy(row),
            None if self.area is None else self.area[part],
            self.unlabelled_classes(row),
            None if self.masks is None else self.masks[row],
        )

    @property
    def partly(self) -> NDArray[np.bool_]:
        """(N,) which pictures were not labelled for all classes?"""
        if self.unlabelled is None:
            return np.zeros(len(self), np.bool_)
        return np.asarray(self.unlabelled.any(axis=1), np.bool_)

    def unlabelled_classes(self, row: int) -> tuple[int, ...]:
        """The classes that a picture was not labelled for: there they are neither right nor wrong."""
        return () if self.unlabelled is None else tuple(np.flatnonzero(self.unlabelled[row, :-1]).tolist())

    def unlabelled_counts(self) -> NDArray[np.int64]:
        """(C,) pictures that were not labelled for each class."""
        if self.unlabelled is None:
            return np.zeros(len(self.classes), np.int64)
        return np.asarray(self.unlabelled[:, :-1].sum(axis=0), np.int64)

    def labelled_for(self, names: Sequence[str], rows: Sequence[int] | None = None) -> Index:
        """The same with those pictures (None: all) labelled for none but the classes of these names."""
        return self.labelled_in_parts([(names, range(len(self)) if rows is None else rows)])

    def labelled_in_parts(self, parts: Iterable[tuple[Sequence[str], Sequence[int]]]) -> Index:
        """The same with the pictures of each part, (class names, rows), labelled for none but these classes."""
        unlabelled = _all_said(self) if self.unlabelled is None else self.unlabelled.copy()
        for names, rows in parts:
            wanted = set(names)
            unlabelled[np.asarray(rows, np.int64)] |= np.array([*(name not in wanted for name in self.classes), True])
        return replace(self, unlabelled=unlabelled)

    def counts(self) -> NDArray[np.int64]:
        """(C,) annotations of each class."""
        return np.bincount(self.class_id, minlength=len(self.classes))

    def picture_counts(self) -> NDArray[np.int64]:
        """(C,) pictures that show each class."""
        return np.bincount(self.picture_class[:, 1], minlength=len(self.classes))

    def pixel_counts(self) -> NDArray[np.float64]:
        """(C,) labelled area of each class, px²: of masks their pixels. Labels that don't give theirs count as 0."""
        if self.area is None:
            return np.zeros(len(self.classes))
        pixels = np.bincount(self.class_id, weights=np.nan_to_num(self.area), minlength=len(self.classes))
        return np.asarray(pixels, np.float64)

    def subset(self, rows: Sequence[int] | NDArray[Any]) -> Index:
        """Those pictures with their annotations, in that order. A boolean mask works too. Findings stay behind."""
        wanted = np.asarray(rows)
        wanted = np.flatnonzero(wanted) if wanted.dtype == np.bool_ else wanted.astype(np.int64)
        lengths = np.diff(self.offsets)[wanted]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        picked = np.repeat(self.offsets[wanted] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return self.parts(wanted, picked, offsets)

    def parts(self, wanted: NDArray[np.int64], picked: NDArray[np.int64], offsets: NDArray[np.int64]) -> Index:
        """The pictures `wanted`, one perhaps several times, of which the i-th has the annotations
        picked[offsets[i]:offsets[i + 1]]."""
        return replace(
            self._keep(picked),
            paths=self.paths[wanted],
            size_hw=self.size_hw[wanted],
            image_id=self.image_id[wanted],
            group=None if self.group is None else self.group[wanted],
            offsets=offsets,
            findings=(),
            files=None if self.files is None else self.files[wanted],
            ignored=None if self.ignored is None else self.ignored[wanted],
            unlabelled=None if self.unlabelled is None else self.unlabelled[wanted],
            masks=None if self.masks is None else self.masks[wanted],
        )

    def keep_annotations(self, keep_M: NDArray[np.bool_]) -> Index:
        """The same pictures with only the annotations where `keep_M` is true."""
        kept = np.concatenate([[0], np.cumsum(keep_M)])[self.offsets]
        return replace(self._keep(np.flatnonzero(keep_M)), offsets=kept.astype(np.int64))

    def _keep(self, picked: NDArray[np.int64]) -> Index:
        segments = self.segments.take(picked)
        box_xyxy = self.box_xyxy[picked]
        return replace(
            self,
            class_id=self.class_id[picked],
            box_xyxy=box_xyxy,
            is_crowd=self.is_crowd[picked],
            annotation_id=self.annotation_id[picked],
            line=self.line[picked],
            segments=segments,
            kinds=kinds_of(box_xyxy, segments, masks=self.masks is not None),
            area=None if self.area is None else self.area[picked],
        )

    def with_classes(self, names: Sequence[str]) -> Index:
        """The same labels with class ids in the order of `names`, matched by name; classes without labels may go.

        A picture that was labelled for some classes alone was not for those that come. Raises DataError when a class
        that has labels is not among `names`.
        """
        if tuple(names) == self.classes:
            return self
        new_id = {name: position for position, name in enumerate(names)}
        table = np.array([new_id.get(name, UNKNOWN) for name in self.classes], np.int64)
        used = self.counts() > 0
        unknown = [self.classes[c] for c in np.flatnonzero(used & (table == UNKNOWN))]
        if unknown:
            raise DataError(*(unknown_class(self.source, name, names) for name in unknown))
        own = {name: int(number) for name, number in zip(self.classes, self.class_ids)}
        column = {name: number for number, name in enumerate(self.classes)}
        return replace(
            self,
            classes=tuple(names),
            class_ids=_complete_ids([own.get(name) for name in names]),
            class_id=table[self.class_id] if len(self.class_id) else self.class_id,
            unlabelled=None
            if self.unlabelled is None
            else self.unlabelled[:, [*(column.get(name, -1) for name in names), -1]],
            masks=self.masks_by(table, len(names)),
        )

    def masks_by(self, table: NDArray[np.int64], classes: int) -> NDArray[np.object_] | None:
        """(N,) the masks with the class ids that `table` (C,) gives theirs; a class without one is no longer known."""
        if self.masks is None:
            return None
        values = {mask.values: mask.values.by(table.tolist(), classes) for mask in self.masks if mask is not None}
        return _objects([None if mask is None else replace(mask, values=values[mask.values]) for mask in self.masks])

    def fingerprint(self) -> str:
        """SHA-256 (hex) of names, sizes, classes, groups and labels; the same wherever the folder lies.

        Without the areas, from which nothing is learnt.
        """
        digest = hashlib.sha256()
        for texts in (self.paths, self.classes, () if self.group is None else self.group):
            digest.update("\0".join(map(str, texts)).encode("utf-8", "surrogatepass") + b"\1")
        for column in (self.size_hw, self.offsets, self.class_id, self.box_xyxy, self.is_crowd):
            digest.update(np.ascontiguousarray(column).astype(column.dtype.newbyteorder("<")).tobytes() + b"\1")
        if self.segments.text:
            digest.update(b"".join(self.segments.raw(m) for m in range(len(self.segments))))
        if self.ignored is not None and self.ignored_count():
            boxes = ((row, box.tolist()) for row, box in enumerate(self.ignored) if len(box))
            digest.update(repr(list(boxes)).encode() + b"\1")
        if self.partly.any():
            partly = [(row, self.unlabelled_classes(row)) for row in np.flatnonzero(self.partly).tolist()]
            digest.update(repr(partly).encode() + b"\1")
        if self.masks is not None:
            told = [None if mask is None else (mask.digest, mask.values) for mask in self.masks]
            digest.update(repr(told).encode() + b"\1")
        return digest.hexdigest()


def locate(root: str, path: str) -> str:
    """A path of a label file as one that can be opened: absolute paths and URLs as they are, others under `root`."""
    if "://" in path or path.startswith(("/", "\\")) or path[1:3] in (":\\", ":/"):
        return path
    return storage.join(root, path)


def kinds_of(box_xyxy: NDArray[np.float32], segments: Segments, *, masks: bool = False) -> frozenset[str]:
    """What the annotations are: mere labels, boxes, polygons, run-length masks; or `masks`, whose classes they list."""
    if not len(box_xyxy):
        return frozenset()
    boxed = ~np.isnan(box_xyxy[:, 0])
    kinds = {"box"} if boxed.any() else set()
    plain = {"mask" if masks else "label"} if not boxed.all() else set()
    return frozenset(kinds | plain | segments.kinds())


def unknown_class(where: str, name: str, known: Sequence[str]) -> Problem:
    """The message for a class name that isn't known, with the closest one that is."""
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    listed = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
    return Problem(
        where,
        f"unknown class '{name}'",
        expected=f"{hint}(the classes are: {listed})",
        fix="`espalier data remap` renames classes and `espalier data filter` leaves some out",
    )


def _complete_ids(own: Sequence[int | None]) -> NDArray[np.int64]:
    """The source's class ids where there are any, fresh numbers after them elsewhere."""
    fresh = max((number for number in own if number is not None), default=-1) + 1
    ids = []
    for number in own:
        ids.append(fresh if number is None else number)
        fresh += number is None
    return np.array(ids, np.int64)


def assemble(
    *,
    root: str,
    source: str,
    format: str,  # noqa: A002  (the spec's word)
    paths: Sequence[str],
    classes: Sequence[str],
    image_row: NDArray[np.int64],
    class_id: NDArray[np.int64],
    class_ids: NDArray[np.int64] | None = None,
    box_xyxy: NDArray[np.float32] | None = None,
    is_crowd: NDArray[np.bool_] | None = None,
    annotation_id: NDArray[np.int64] | None = None,
    line: NDArray[np.int64] | None = None,
    segments: Segments | None = None,
    size_hw: NDArray[np.int32] | None = None,
    image_id: NDArray[np.int64] | None = None,
    group: Sequence[str] | None = None,
    findings: Sequence[Finding] = (),
    files: Sequence[str] | None = None,
    ignored: Mapping[int, Sequence[Sequence[float]]] | None = None,
    area: NDArray[np.float64] | None = None,
    unlabelled: NDArray[np.bool_] | None = None,
    masks: Sequence[MaskFile | None] | None = None,
) -> Index:
    """An Index from annotations in any order; `image_row` (M,) names the picture of each.

    `ignored` are boxes by picture.
    """
    n, m = len(paths), len(image_row)
    order = _by_picture(image_row)
    boxes = np.full((m, 4), np.nan, np.float32) if box_xyxy is None else box_xyxy[order].astype(np.float32, copy=False)
    outlines = Segments.empty(m) if segments is None or not segments.kinds() else segments.take(order)
    return Index(
        root=root,
        source=source,
        paths=_objects(paths),
        size_hw=np.full((n, 2), UNKNOWN, np.int32) if size_hw is None else size_hw,
        image_id=np.arange(n) if image_id is None else image_id,
        group=None if group is None else _objects(group),
        classes=tuple(classes),
        class_ids=np.arange(len(classes)) if class_ids is None else class_ids,
        offsets=np.searchsorted(image_row[order], np.arange(n + 1)).astype(np.int64),
        class_id=class_id[order],
        box_xyxy=boxes,
        is_crowd=np.zeros(m, np.bool_) if is_crowd is None else is_crowd[order],
        annotation_id=np.arange(m) if annotation_id is None else annotation_id[order],
        line=np.zeros(m, np.int64) if line is None else line[order],
        segments=outlines,
        kinds=kinds_of(boxes, outlines, masks=masks is not None),
        format=format,
        findings=tuple(findings),
        files=None if files is None else _objects(files),
        ignored=_regions(ignored, n) if ignored else None,
        area=None if area is None or np.isnan(area).all() else area[order],
        unlabelled=unlabelled if unlabelled is not None and unlabelled.any() else None,
        masks=None if masks is None or not any(masks) else _objects(masks),
    )


def _all_said(index: Index) -> NDArray[np.bool_]:
    """(N, C + 1) every picture was labelled for every class."""
    return np.zeros((len(index), len(index.classes) + 1), np.bool_)


def _regions(ignored: Mapping[int, Sequence[Sequence[float]]], count: int) -> NDArray[np.object_]:
    """(N,) the boxes of each picture, (k, 4)."""
    column = np.empty(count, np.object_)
    for row in range(count):
        column[row] = np.array(ignored.get(row, ()), np.float32).reshape(-1, 4)
    return column


def _by_picture(image_row: NDArray[np.int64]) -> Any:
    """What sorts the annotations by picture and leaves those of one in their order."""
    if bool((np.diff(image_row) >= 0).all()):
        return slice(None)
    places = np.arange(len(image_row), dtype=np.int64)
    return np.sort((image_row << 32) | places) & 0xFFFFFFFF  # four times as fast as a stable argsort


def _objects(items: Sequence[Any]) -> NDArray[np.object_]:
    column = np.empty(len(items), np.object_)
    column[:] = items
    return column


def with_findings(splits: Mapping[str, Index], findings: Sequence[Finding]) -> dict[str, Index]:
    """The splits of one reading; what was found in it is told with the first of them."""
    return {
        split: replace(index, findings=tuple(findings)) if place == 0 else index
        for place, (split, index) in enumerate(splits.items())
    }


def join(indexes: Sequence[Index], *, source: str) -> Index:
    """All pictures of several indexes that have the same root and classes, one after the other."""
    first = indexes[0]
    shifts = np.cumsum([0, *(len(index) for index in indexes)])
    groups = [g for index in indexes for g in (index.group if index.group is not None else [""] * len(index))]
    files = [str(file) for index in indexes if index.files is not None for file in index.files]
    regions = [index.ignored_xyxy(row).tolist() for index in indexes for row in range(len(index))]
    return assemble(
        root=first.root,
        source=source,
        format=first.format,
        paths=[str(path) for index in indexes for path in index.paths],
        classes=first.classes,
        class_ids=first.class_ids,
        image_row=np.concatenate([index.image_row + shift for index, shift in zip(indexes, shifts)]),
        class_id=np.concatenate([index.class_id for index in indexes]),
        box_xyxy=np.concatenate([index.box_xyxy for index in indexes]),
        is_crowd=np.concatenate([index.is_crowd for index in indexes]),
        segments=Segments.join([index.segments for index in indexes]),
        size_hw=np.concatenate([index.size_hw for index in indexes]),
        group=groups if any(index.group is not None for index in indexes) else None,
        findings=[finding for index in indexes for finding in index.findings],
        files=files if all(index.files is not None for index in indexes) else None,
        ignored={row: boxes for row, boxes in enumerate(regions) if len(boxes)},
        area=np.concatenate([_areas(index) for index in indexes]),
        unlabelled=np.concatenate([_all_said(i) if i.unlabelled is None else i.unlabelled for i in indexes]),
        masks=[mask for index in indexes for mask in ([None] * len(index) if index.masks is None else index.masks)],
    )


def _areas(index: Index) -> NDArray[np.float64]:
    return np.full(len(index.class_id), np.nan) if index.area is None else index.area
