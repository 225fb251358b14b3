"""Which labelled pictures a model is scored on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espalier.actions.models import OpenModel
from espalier.data.formats import read_splits
from espalier.data.index import Index
from espalier.data.samples import Samples
from espalier.data.split import split
from espalier.errors import DataError, InputError, Problem
from espalier.runs.run import Run
from espalier.spec.sections import DataSpec, Spec

HELD_OUT = ("test", "val")


@dataclass(frozen=True)
class Labelled:
    """Pictures with labels in the model's classes; `words` says where they are from.

    `held_out_by` is the model whose training kept exactly these apart.
    """

    index: Index
    words: str
    held_out_by: Path | None = None

    def samples(self, model: OpenModel, *, max_pixels: int) -> Samples:
        """The pictures as the model reads them."""
        return Samples(self.index, model.task, model.channels, max_pixels)


def for_scoring(asked: str | None, model: OpenModel, *, split_name: str = "evaluate.data") -> Labelled:
    """The pictures that were asked for, else the test set of the model's spec, else its validation set.

    Raises DataError where there are none, or only such as the model was trained on.
    """
    spec = model.spec
    data = DataSpec() if spec is None else spec.data
    if asked is not None:
        return _named(asked, data, model.classes)
    if spec is None:
        raise DataError(Problem(split_name, "a bundle keeps no pictures of its own", fix=_named_by(split_name)))
    return _of_spec(spec, model, split_name)


def _named(path: str, data: DataSpec, classes: Sequence[str]) -> Labelled:
    """A data set by its path; of one with several parts the test part, else the validation part."""
    splits = read_splits(path, images=None, group=data.group)
    name = next((part for part in (*HELD_OUT, "train") if part in splits), next(iter(splits)))
    words = path if len(splits) == 1 else f"{path}, its part '{name}'"
    return Labelled(splits[name].with_classes(classes), words)


def _named_by(field: str) -> str:
    return f"name some that it never saw: {field}=PICTURES"


def _of_spec(spec: Spec, model: OpenModel, field: str) -> Labelled:
    data = spec.data
    for path, word in ((data.test, "the test set"), (data.val, "the validation set")):
        if path is not None:
            found = _named(path, data, model.classes)
            return Labelled(found.index, f"{word} {found.words}")
    if data.train is None:
        raise DataError(Problem("data", "the model's spec names no pictures", fix=_named_by(field)))
    return held_out(spec, model, field)


def held_out(spec: Spec, model: OpenModel, field: str) -> Labelled:
    """What training held out of its own pictures: their test or validation part, or the same share as then.

    Raises DataError, which says that `field` names others, where nothing was held out or is no longer known.
    """
    data = spec.data
    assert data.train is not None
    splits = _training_splits(data.train, data, strict=True)
    for name in HELD_OUT:
        if name in splits:
            return Labelled(splits[name].with_classes(model.classes), f"{data.train}, its part '{name}'")
    if not getattr(model, "holds_out", True):
        raise DataError(Problem(data.train, "the model was trained on all of these pictures", fix=_named_by(field)))
    index = splits["train"]
    kept, rows = split(index, data.val_fraction, seed=spec.seed, near_duplicates=data.near_duplicates)
    if not _are_those_of(model, index.subset(kept)):
        what = "the pictures or labels are not those of the training, so which of them it held out is no longer known"
        raise DataError(Problem(data.train, what, fix=_named_by(field)))
    words = f"the {data.val_fraction:.0%} of {data.train} that training held out"
    return Labelled(index.subset(rows).with_classes(model.classes), words, held_out_by=model.path)


def _training_splits(path: str, data: DataSpec, *, strict: bool) -> dict[str, Index]:
    """The parts of what was trained on, labelled for the classes that it was labelled for then."""
    splits = read_splits(path, format=data.format, images=data.images, group=data.group, strict=strict)
    names = data.labelled_classes
    return splits if names is None else {part: index.labelled_for(names) for part, index in splits.items()}


def warn_of_seen(model: OpenModel, name: str, pictures: Labelled, run: Run) -> int:
    """Says how many of the pictures the model learnt from, where it is some, and gives their number."""
    seen = 0 if pictures.held_out_by == model.path else learnt_from(model, pictures.index)
    if seen:
        count = len(pictures.index)
        run.warn(f"{name} learnt from {seen} of these {count} pictures: on them its score says nothing of new ones")
    return seen


def learnt_from(model: OpenModel, index: Index) -> int:
    """How many of these pictures the model's training learnt from, by their paths; 0 where that is not known."""
    train = _training_set(model)
    asked = _paths(index)
    if train is None or not asked & _paths(train.index):
        return 0
    return len(asked & _paths(train.learnt_from(model)))


@dataclass(frozen=True)
class _TrainingSet:
    """The pictures that a spec trains on; `all`: none of them were held out."""

    index: Index
    data: DataSpec
    seed: int
    all: bool

    def learnt_from(self, model: OpenModel) -> Index:
        """Those that were not held out; all of them where it is no longer known which these were."""
        if self.all:
            return self.index
        data = self.data
        kept, _ = split(self.index, data.val_fraction, seed=self.seed, near_duplicates=data.near_duplicates)
        return self.index.subset(kept) if _are_those_of(model, self.index.subset(kept)) else self.index


def _training_set(model: OpenModel) -> _TrainingSet | None:
    spec = model.spec
    if spec is None or spec.data.train is None:
        return None
    data = spec.data
    assert data.train is not None
    try:
        splits = _training_splits(data.train, data, strict=False)
    except InputError:  # it is no longer there, or no longer a data set
        return None
    everything = data.val is not None or "val" in splits or not model.holds_out
    return _TrainingSet(splits["train"], data, spec.seed, everything) if "train" in splits else None


def _are_those_of(model: OpenModel, train: Index) -> bool:
    """Is this the training set that the checkpoint records, as it is or without the pictures that have no label?"""
    info = model.info
    if info is None or not info.data_fingerprint:
        return True
    try:
        whole = train.with_classes(model.classes)
    except DataError:  # another class has come
        return False
    labelled = whole.subset(np.diff(whole.offsets) > 0)
    return info.data_fingerprint in (whole.fingerprint(), labelled.fingerprint())


def _paths(index: Index) -> set[str]:
    found = (index.path(row) for row in range(len(index)))
    return {path if "://" in path else os.path.realpath(path) for path in found}
