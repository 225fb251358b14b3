"""B against A on the same pictures: detection's comparison by masks, and AP by boundaries and boxes."""

from __future__ import annotations

from dataclasses import replace

from espalier.blocks import Figure
from espalier.tasks.base import Comparison, Scores
from espalier.tasks.detection import compare as boxed
from espalier.tasks.instance.metrics import SIDES, side_words
from espalier.tasks.pairs import pair


def compare(a: Scores, b: Scores, *, bootstrap: int, seed: int) -> Comparison:
    """The comparison of two models' scores. Raises DataError when they share no picture."""
    found = boxed.compare(a, b, bootstrap=bootstrap, seed=seed)
    sides = [figure for key in SIDES for figure in _side(a, b, key, bootstrap=bootstrap, seed=seed)]
    return replace(found, others=(*found.others, *sides))


def _side(a: Scores, b: Scores, key: str, *, bootstrap: int, seed: int) -> list[Figure]:
    kept = (a.per_item[key], b.per_item[key])
    found = boxed.differences(
        kept, pair(a, b), lambda one, weights_NB: one.precisions(weights_NB), bootstrap=bootstrap, seed=seed
    )
    words = side_words(key)
    there = [f"{key}_{name}" in a.figures and f"{key}_{name}" in b.figures for name in words]
    return [found(row, word) for row, word in enumerate(words.values()) if there[row]]
