"""Which labelled pictures a model is scored on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from espalier.actions.models import OpenModel
from espalier.data.formats import read_splits
from espalier.data.index import Index
from espalier.data.samples import Samples
from espalier.data.split import split
from espalier.errors import DataError, Problem
from espalier.spec.sections import DataSpec, Spec

HELD_OUT = ("test", "val")


@dataclass(frozen=True)
class Labelled:
    """Pictures with labels in the model's classes; `words` says where they are from."""

    index: Index
    words: str

    def samples(self, model: OpenModel, *, max_pixels: int) -> Samples:
        """The pictures as the model reads them."""
        return Samples(self.index, model.task, model.channels, max_pixels)


def for_scoring(asked: str | None, model: OpenModel, *, split_name: str = "data") -> Labelled:
    """The pictures that were asked for, else the test set of the model's spec, else its validation set.

    Raises DataError where there are none, or only such as the model was trained on.
    """
    spec = model.spec
    data = DataSpec() if spec is None else spec.data
    if asked is not None:
        return _named(asked, data, model.classes)
    if spec is None:
        fix = f"name some: espalier evaluate {model.path} PICTURES"
        raise DataError(Problem(split_name, "a bundle keeps no pictures of its own", fix=fix))
    return _of_spec(spec, model)


def _named(path: str, data: DataSpec, classes: Sequence[str]) -> Labelled:
    """A data set by its path; of one with several parts the test part, else the validation part."""
    splits = read_splits(path, images=None, group=data.group)
    name = next((part for part in (*HELD_OUT, "train") if part in splits), next(iter(splits)))
    words = path if len(splits) == 1 else f"{path}, its part '{name}'"
    return Labelled(splits[name].with_classes(classes), words)


def _of_spec(spec: Spec, model: OpenModel) -> Labelled:
    data = spec.data
    for path, word in ((data.test, "the test set"), (data.val, "the validation set")):
        if path is not None:
            found = _named(path, data, model.classes)
            return Labelled(found.index, f"{word} {found.words}")
    if data.train is None:
        fix = f"name some: espalier evaluate {model.path} PICTURES"
        raise DataError(Problem("data", "the model's spec names no pictures", fix=fix))
    return held_out(spec, model)


def held_out(spec: Spec, model: OpenModel) -> Labelled:
    """What training held out of its own pictures: their test or validation part, or the same share as then."""
    data = spec.data
    assert data.train is not None
    splits = read_splits(data.train, format=data.format, images=data.images, group=data.group)
    for name in HELD_OUT:
        if name in splits:
            return Labelled(splits[name].with_classes(model.classes), f"{data.train}, its part '{name}'")
    if not getattr(model, "holds_out", True):
        fix = f"name others: espalier evaluate {model.path} PICTURES"
        raise DataError(Problem(data.train, "the model was trained on all of these pictures", fix=fix))
    index = splits["train"].with_classes(model.classes)
    _, rows = split(index, data.val_fraction, seed=spec.seed, near_duplicates=data.near_duplicates)
    return Labelled(index.subset(rows), f"the {data.val_fraction:.0%} of {data.train} that training held out")
