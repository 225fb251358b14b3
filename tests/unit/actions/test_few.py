"""What the k-fold says of the pictures it scored."""

from __future__ import annotations

from pathlib import Path

from espalier.actions.few import _words, folds
from espalier.data.formats import read_index
from espalier.spec.verbs import FitSpec


def test_the_words_count_the_pictures_that_were_scored(photos: Path) -> None:
    index = read_index(str(photos))
    repeats = folds(index, FitSpec(folds=4, repeats=2), seed=0)
    assert "each of the 36 pictures was scored by models that never saw it (2 × 4 folds)" in _words(index, repeats)
    assert "each of 18 of the 36 pictures was scored" in _words(index, [repeats[0][:2]])
    assert "(2 folds)" in _words(index, [repeats[0][:2]])
