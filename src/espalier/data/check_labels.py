"""What `data check` looks for in the labels: boxes, outlines, repeats, classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.data.check_pictures import few, sizes
from espalier.data.findings import Finding, Severity
from espalier.data.index import UNKNOWN, Index
from espalier.data.scan import Scan
from espalier.errors import EspalierError
from espalier.vision.masks import runs_of, segment_area

MANY = 300  # of objects in a picture: what detectors usually keep of their answers
_SLACK_PX = 1.0  # many tools round a box up to the next pixel


def bad_boxes(index: Index, seen: Scan) -> Iterator[Finding]:
    """Boxes without area, and boxes that reach outside their picture."""
    empty = no_area(index)
    for m in np.flatnonzero(empty):
        what = f"the box {_text(index.box_xyxy[m])} has no area"
        row = (int(index.image_row[m]),)
        yield Finding("error", "zero-area-box", _where(index, m), what, "draw it again or delete it", row)
    beyond = _beyond(index, seen)
    for m in np.flatnonzero((beyond > _SLACK_PX) & ~empty):
        height, width = sizes(index, seen)[index.image_row[m]]
        gone = not _clipped(index.box_xyxy[m], height, width)
        how = "lies wholly outside" if gone else f"reaches {beyond[m]:.0f} px outside"
        what = f"the box {_text(index.box_xyxy[m])} {how} the picture of {width} × {height} px"
        severity: Severity = "error" if gone else "warning"
        row = (int(index.image_row[m]),)
        fix = "leaves it out" if gone else "clips it to the picture"
        yield Finding(severity, "outside-box", _where(index, m), what, f"`--fix DIR` {fix}", row)


def no_area(index: Index) -> NDArray[np.bool_]:
    """(M,) boxes whose width or height is not positive."""
    x1, y1, x2, y2 = index.box_xyxy.T
    bad: NDArray[np.bool_] = ~((x2 > x1) & (y2 > y1)) & ~np.isnan(x1)
    return bad


def _beyond(index: Index, seen: Scan) -> NDArray[np.float64]:
    """(M,) how many px a box reaches out of its picture; 0 where there is no box or the size isn't known."""
    frame = sizes(index, seen)[index.image_row].astype(np.float64)
    frame[frame == UNKNOWN] = np.inf
    box = index.box_xyxy.astype(np.float64)
    out = np.stack([-box[:, 0], -box[:, 1], box[:, 2] - frame[:, 1], box[:, 3] - frame[:, 0]], axis=1)
    worst: NDArray[np.float64] = np.nan_to_num(out, nan=0.0, posinf=np.inf).max(axis=1, initial=0.0)
    return worst


def _clipped(box: NDArray[np.float32], height: int, width: int) -> bool:
    """Is there anything left of the box inside the picture?"""
    return bool(min(box[2], width) > max(box[0], 0) and min(box[3], height) > max(box[1], 0))


def bad_outlines(index: Index, seen: Scan) -> Iterator[Finding]:
    """Outlines that can't be read, or are of another size than the picture."""
    if not index.kinds & {"polygon", "rle"}:
        return
    frame = sizes(index, seen)
    for m in np.flatnonzero(index.segments.stop_M > index.segments.start_M):
        problem = _outline_problem(index, int(m), frame[index.image_row[m]])
        if problem:
            row = (int(index.image_row[m]),)
            yield Finding("error", "bad-outline", _where(index, m), problem, "draw it again or delete it", row)
        elif _covers_nothing(index.segments[int(m)]):
            what, row = "the outline covers no pixel", (int(index.image_row[m]),)
            yield Finding("warning", "empty-outline", _where(index, m), what, "draw it again or delete it", row)


def missing_outlines(index: Index, seen: Scan) -> Iterator[Finding]:
    """Objects without an outline among those that have one: an empty polygon is none."""
    if not index.kinds & {"polygon", "rle"}:
        return
    length_M = index.segments.stop_M - index.segments.start_M
    short = np.flatnonzero((length_M <= len("null")) & ~index.is_crowd)
    bare = np.array([m for m in short.tolist() if not length_M[m] or not index.segments[m]], np.int64)
    if len(bare):
        what = f"{len(bare)} of {len(index.class_id)} labels have no outline"
        fix = "draw them: nothing is known of the pixels in their boxes"
        where = ", ".join(_where(index, m) for m in bare[:3]) + (", …" if len(bare) > 3 else "")
        rows = tuple(np.unique(index.image_row[bare]).tolist())
        yield Finding("warning", "no-outline", where, what, fix, rows)


def _covers_nothing(segment: Any) -> bool:
    return bool(segment) and segment_area(segment) == 0


def unusable_outlines(index: Index, seen: Scan) -> NDArray[np.bool_]:
    """(M,) annotations whose outline `bad_outlines` tells of."""
    bad = np.zeros(len(index.class_id), np.bool_)
    frame = sizes(index, seen)
    for m in np.flatnonzero(index.segments.stop_M > index.segments.start_M).tolist():
        bad[m] = bool(_outline_problem(index, m, frame[index.image_row[m]]))
    return bad


def _outline_problem(index: Index, m: int, size_hw: NDArray[np.int32]) -> str:
    try:
        segment = index.segments[m]
        if isinstance(segment, dict):
            _, found_hw = runs_of(segment)
            known = size_hw[0] != UNKNOWN
            other = known and tuple(size_hw.tolist()) != tuple(found_hw)
            return (
                f"the mask is {found_hw[1]} × {found_hw[0]} px, the picture {size_hw[1]} × {size_hw[0]}"
                if other
                else ""
            )
    except EspalierError as error:
        return f"the outline can't be used: {error.problems[0].what}"
    short = any(len(polygon) < 6 or len(polygon) % 2 for polygon in segment or ())
    return "a polygon has fewer than three points, or an odd number of coordinates" if short else ""


def repeated_labels(index: Index, seen: Scan) -> Iterator[Finding]:
    """The same label twice on one picture."""
    for m in np.flatnonzero(repeats(index)):
        what = f"'{index.classes[index.class_id[m]]}' is there twice, at the same place"
        row = (int(index.image_row[m]),)
        yield Finding("warning", "duplicate-label", _where(index, m), what, "delete one of them", row)


def repeats(index: Index) -> NDArray[np.bool_]:
    """(M,) annotations that say what an earlier one of the same picture says. Outlines count as different."""
    keys = np.concatenate(
        [index.image_row[:, None], index.class_id[:, None], np.nan_to_num(index.box_xyxy, nan=-1.0)], axis=1
    ).astype(np.float64)
    again = np.ones(len(keys), np.bool_)
    if len(keys):
        again[np.unique(keys, axis=0, return_index=True)[1]] = False
    boxless_outline = np.isnan(index.box_xyxy[:, 0]) & (index.segments.stop_M > index.segments.start_M)
    return again & ~boxless_outline


def classes_and_labels(index: Index, seen: Scan) -> Iterator[Finding]:
    """Classes without labels, classes with very few, pictures without labels."""
    counts, unlabelled = index.picture_counts(), index.unlabelled_counts()
    for c in np.flatnonzero(unlabelled):
        what = f"{unlabelled[c]} of {len(index)} pictures were not labelled for '{index.classes[c]}'"
        fix = "there it is neither right nor wrong, in training as in scores"
        yield Finding("info", "partly-labelled", index.source, what, fix)
    for c in np.flatnonzero((counts == 0) & (unlabelled < len(index))):
        what = f"the class '{index.classes[c]}' has no picture here"
        yield Finding("info", "empty-class", index.source, what, "`espalier data filter` leaves it out")
    per_picture = np.diff(index.offsets)
    fullest = int(per_picture.argmax()) if len(index) else 0
    if len(index) and per_picture[fullest] > MANY:
        what = f"the fullest picture has {per_picture[fullest]} labels"
        fix = "a detector finds no more than network.detections says, and no more than it has queries (network.queries)"
        yield Finding("info", "many-labels", index.name(fullest), what, fix, (fullest,))
    bare = np.flatnonzero((per_picture == 0) & ~_has_mask(index))
    if len(bare):
        what = f"{len(bare)} of {len(index)} pictures have no label"
        severity: Severity = "info" if index.kinds - {"label"} else "warning"
        fix = "they count as showing none of the classes"
        yield Finding(severity, "no-label", few(index, bare), what, fix, tuple(bare.tolist()))
    if np.count_nonzero(counts) == 1 and index.kinds == {"label"}:
        what = f"all pictures are labelled '{index.classes[int(counts.argmax())]}'"
        yield Finding(
            "warning", "one-class", index.source, what, "there is nothing to tell apart: add pictures of others"
        )


def _has_mask(index: Index) -> NDArray[np.bool_]:
    """(N,) pictures of whose pixels a mask says the class: without a label there, it is `check_masks` that tells."""
    return np.array(
        [mask is not None for mask in index.masks] if index.masks is not None else [False] * len(index), bool
    )


def _where(index: Index, m: Any) -> str:
    return f"{index.where(int(m))} ({index.name(int(index.image_row[m]))})"


def _text(box: NDArray[np.float32]) -> str:
    return "(" + ", ".join(f"{edge:g}" for edge in box.tolist()) + ")"
