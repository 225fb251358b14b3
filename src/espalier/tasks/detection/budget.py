"""Where average precision is lost: TIDE's six kinds of error (Bolya et al., ECCV 2020), and what mending each brings.

At an overlap of 0.5 (`FOREGROUND`) and 0.1 (`BACKGROUND`), a wrong box is, in this order, of

- location: it overlaps an object of its class by 0.1 to 0.5;
- class: it overlaps an object of another class by 0.5 or more;
- duplicate: it overlaps an object of its class by 0.5 or more, which a box of higher score has found;
- background: it overlaps no object by more than 0.1;
- both: none of these, that is another class, and by 0.1 to 0.5.

Missed are objects that no box found and that no error of class or location points at. Mending moves the box onto its
object and gives it the object's class (the best box of each object that is not found; the others go), takes the box
away (duplicate, background, both), or takes the object away (missed). The gains do not add up to what is lacking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.tasks.detection.collected import Columns, best_first
from espalier.tasks.detection.confidence import ALL, HALF, mean_of_classes
from espalier.tasks.detection.matching import FREE, Matches, Pairs
from espalier.tasks.detection.precision import Ranked, average_precision, objects_of

FOREGROUND, BACKGROUND = 0.5, 0.1
KINDS = ("class", "location", "both", "duplicate", "background", "missed")
CLASS, LOCATION, BOTH, DUPLICATE, BARE, MISSED = range(len(KINDS))
NONE = -1
SPECIAL = ("false alarms", "not found")


@dataclass(frozen=True)
class Errors:
    """What is wrong with each box and each object."""

    kind: NDArray[np.int64]  # (D,) number in KINDS, NONE where it is right or does not count
    about: NDArray[np.int64]  # (D,) the object that an error of class or location is about, else FREE
    missed: NDArray[np.bool_]  # (G,)
    unfound: NDArray[np.bool_]  # (G,) objects that no box found, missed or not


def errors(columns: Columns, matches: Matches, same_picture: Pairs) -> Errors:
    """TIDE's errors. `same_picture` are the pairs of any class that overlap by `BACKGROUND` or more."""
    found, objects = columns.found, columns.objects
    right, counts = matches.of(ALL, HALF)
    wrong = counts & ~right
    pairs = _that_count(same_picture, wrong, matches.counted[:, ALL])
    same = found.class_id[pairs.found] == objects.class_id[pairs.object]
    own, own_object = _most(pairs, same, len(found))
    other, other_object = _most(pairs, ~same, len(found))
    kind = np.select(
        [
            (own >= BACKGROUND) & (own < FOREGROUND),
            other >= FOREGROUND,
            own >= FOREGROUND,
            np.maximum(own, other) <= BACKGROUND,
        ],
        [LOCATION, CLASS, DUPLICATE, BARE],
        BOTH,
    )
    kind = np.where(wrong, kind, NONE)
    about = np.where(kind == LOCATION, own_object, np.where(kind == CLASS, other_object, FREE))
    unfound = matches.counted[:, ALL].copy()
    unfound[matches.object_of(ALL, HALF)[right]] = False
    missed = unfound.copy()
    missed[about[about != FREE]] = False
    return Errors(kind, about, missed, unfound)


def _that_count(pairs: Pairs, wrong: NDArray[np.bool_], counted: NDArray[np.bool_]) -> Pairs:
    kept = wrong[pairs.found] & counted[pairs.object]
    return Pairs(pairs.found[kept], pairs.object[kept], pairs.iou[kept])


def _most(pairs: Pairs, kept: NDArray[np.bool_], count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(overlap, object) that each of `count` detections overlaps most among the pairs kept; 0 and FREE for none."""
    iou, which = np.zeros(count), np.full(count, FREE, np.int64)
    order = np.flatnonzero(kept)
    order = order[np.lexsort((-pairs.object[order], pairs.iou[order]))]  # the last one written stays
    iou[pairs.found[order]] = pairs.iou[order]
    which[pairs.found[order]] = pairs.object[order]
    return iou, which


@dataclass(frozen=True)
class Oracle:
    """AP at an overlap of 0.5 as it is (first), and with each kind of error mended."""

    ranked: list[list[Ranked]]  # by variant and class
    positives: list[Any]  # by variant: (C, N), sparse or dense: what multiplies from the left

    @staticmethod
    def of(columns: Columns, matches: Matches, wrong: Errors) -> Oracle:
        """As it is, then `KINDS`, then `SPECIAL`."""
        everything = matches.counted[:, ALL]
        variants = [
            _as_it_is(columns, matches),
            *(_mended(columns, matches, wrong, kind) for kind in range(len(KINDS))),
            _without(columns, matches, wrong.kind != NONE),
            _as_it_is(columns, matches),
        ]
        kept = [everything] * len(variants)
        kept[1 + MISSED] = everything & ~wrong.missed
        kept[-1] = everything & ~wrong.unfound
        return Oracle(
            [_by_class(columns, *variant) for variant in variants], [objects_of(columns, one) for one in kept]
        )

    def __call__(self, weights_NB: NDArray[np.float64]) -> NDArray[np.float64]:
        """(1 + 8, B) mean AP over the classes of each variant."""
        found = []
        for ranked, positives in zip(self.ranked, self.positives, strict=True):
            positives_CB = positives @ weights_NB
            each = [average_precision(one, positives_CB[c], weights_NB) for c, one in enumerate(ranked)]
            found.append(mean_of_classes(np.stack(each)))
        return np.stack(found)


Variant = tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]
"""(class, right, counts) of each detection."""


def _as_it_is(columns: Columns, matches: Matches) -> Variant:
    return columns.found.class_id, *matches.of(ALL, HALF)


def _without(columns: Columns, matches: Matches, gone: NDArray[np.bool_]) -> Variant:
    class_id, right, counts = _as_it_is(columns, matches)
    return class_id, right, counts & ~gone


def _mended(columns: Columns, matches: Matches, wrong: Errors, kind: int) -> Variant:
    """Errors of class and location become right where theirs is the best box of an object that is not found."""
    class_id, right, counts = _without(columns, matches, wrong.kind == kind)
    if kind not in (CLASS, LOCATION):
        return class_id, right, counts
    rows = np.flatnonzero(wrong.kind == kind)
    rows = rows[wrong.unfound[wrong.about[rows]]]
    rows = rows[np.argsort(-columns.found.score[rows], kind="stable")]
    best = rows[np.unique(wrong.about[rows], return_index=True)[1]]
    class_id, right = class_id.copy(), right.copy()
    class_id[best] = columns.objects.class_id[wrong.about[best]]
    right[best] = counts[best] = True
    return class_id, right, counts


def _by_class(
    columns: Columns, class_id: NDArray[np.int64], right: NDArray[np.bool_], counts: NDArray[np.bool_]
) -> list[Ranked]:
    found, pictures = columns.found, len(columns.pictures.names)
    same = class_id is found.class_id
    orders = columns.best_first if same else best_first(class_id, found.score, len(columns.classes))
    kept = (order[counts[order]] for order in orders)
    return [Ranked.of(found.picture[rows], right[rows], pictures) for rows in kept]
