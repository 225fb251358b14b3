"""Which class was taken for which, background among them, at the model's own threshold and an overlap of 0.5."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from espalier.blocks import Block, Matrix, Table
from espalier.tasks.detection.collected import Columns
from espalier.tasks.detection.confidence import ALL, HALF
from espalier.tasks.detection.matching import FREE, OVERLAPS, Matches, Pairs

MATRIX_CLASSES = 40
CONFUSED_PAIRS = 30
BACKGROUND = "background"


def confusion(columns: Columns, matches: Matches, same_picture: Pairs) -> NDArray[np.float64]:
    """(C + 1, C + 1) objects by truth (rows) and answer (columns); the last of each is the background.

    What is right by COCO's rules is so here. The other boxes then take, best score first, the object left over that
    they overlap most, whatever its class.
    """
    found, objects, none = columns.found, columns.objects, len(columns.classes)
    weight_N = columns.pictures.weight_N
    right, counts = matches.of(ALL, HALF)
    right, wrong = right & found.said, counts & ~right & found.said
    open_G = matches.counted[:, ALL].copy()
    open_G[matches.object_of(ALL, HALF)[right]] = False
    truth_D = np.where(right, found.class_id, none)
    taken_D = _left_over(columns, same_picture, wrong, open_G)
    took = taken_D != FREE
    truth_D[took] = objects.class_id[taken_D[took]]
    cells = np.zeros((none + 1, none + 1))
    shown = right | wrong
    np.add.at(cells, (truth_D[shown], found.class_id[shown]), weight_N[found.picture[shown]])
    np.add.at(cells[:, none], objects.class_id[open_G], weight_N[objects.picture[open_G]])
    return cells


def _left_over(
    columns: Columns, pairs: Pairs, wrong: NDArray[np.bool_], open_G: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """(D,) the object that each wrong box takes; those are no longer open."""
    taken = np.full(len(wrong), FREE, np.int64)
    kept = wrong[pairs.found] & open_G[pairs.object] & (pairs.iou >= OVERLAPS[HALF])
    d, g, iou = pairs.found[kept], pairs.object[kept], pairs.iou[kept]
    for n in np.lexsort((-iou, -columns.found.score[d])):
        if taken[d[n]] == FREE and open_G[g[n]]:
            taken[d[n]] = g[n]
            open_G[g[n]] = False
    return taken


def block(classes: Sequence[str], cells: NDArray[np.float64], note: str) -> Block:
    """A heat map, or of many classes the pairs that were confused most."""
    names = [*classes, BACKGROUND]
    title = "Confusion: truth in rows, answer in columns"
    if len(classes) <= MATRIX_CLASSES:
        return Matrix(title, names, names, cells.round(2).tolist(), note, unit="objects")
    apart = cells.copy()
    np.fill_diagonal(apart, 0)
    places = [np.unravel_index(i, apart.shape) for i in np.argsort(-apart, axis=None, kind="stable")[:CONFUSED_PAIRS]]
    rows: list[list[str | float]] = [
        [names[t], names[p], round(float(apart[t, p]), 2)] for t, p in places if apart[t, p] > 0
    ]
    return Table("Most confused", ["truth", "answer", "objects"], rows, note)
