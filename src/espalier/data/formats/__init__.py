"""The data formats, found by the files of this folder, and the reading of a data set without naming its format."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache

from espalier import storage
from espalier.data import labelled_classes as for_classes
from espalier.data.findings import raise_errors
from espalier.data.formats.base import Format, Options, Place, with_groups
from espalier.data.index import Index, unknown_class
from espalier.errors import DataError, Problem


@cache
def formats() -> dict[str, Format]:
    """Every format by its name."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name != "base":
            form: Format = importlib.import_module(f"{__name__}.{module.name}").FORMAT
            found[form.name] = form
    return found


def get(name: str) -> Format:
    """The format of that name; raises DataError that names the others."""
    if name not in formats():
        raise DataError(Problem("data.format", f"there is no format '{name}'", f"one of: auto, {', '.join(formats())}"))
    return formats()[name]


def detect(place: Place) -> Format:
    """The format that a data set looks most like. Raises DataError that says what was looked for."""
    scored = sorted(((form.detect(place), name) for name, form in formats().items()), reverse=True)
    score, name = scored[0]
    if score > 0:
        return get(name)
    if place.is_folder and not place.files:
        raise DataError(
            Problem(place.path, "the folder is empty", fix="put a folder with pictures for each class into it")
        )
    looked = [f"{name}: {form.help}" for name, form in formats().items()]
    raise DataError(Problem(place.path, "no known data format", "\n  ".join(["expected one of", *looked])))


def read_splits(
    path: str,
    *,
    format: str = "auto",  # noqa: A002  (the spec's word)
    images: str | None = None,
    classes: Sequence[str] | str = "auto",
    group: str | None = None,
    labelled_classes: Sequence[str] | None = None,
    strict: bool = True,
) -> dict[str, Index]:
    """The index of each part ('train', 'val', 'test') of a data set; all of it is 'train' when it has no parts.

    `images` is the folder that paths are relative to, `classes` the names in the order wanted (or 'auto'), `group` a
    CSV column or a regular expression over the path, `labelled_classes` the classes that all pictures were labelled for
    (None: what the data says). Raises DataError when nothing can be read and, if `strict`, when
    anything in it can't be used; without it such things are left out and listed in `Index.findings`.
    """
    place = Place(str(path))
    if not storage.exists(place.path):
        raise DataError(Problem(place.path, "there is no such file or folder", fix="check the path"))
    names = None if isinstance(classes, str) else tuple(classes)
    options = Options(images, names, group)
    form = detect(place) if format == "auto" else get(format)
    splits = {split: with_groups(index, group) for split, index in form.read(place, options).items()}
    splits = for_classes.applied(splits, place.path if place.is_folder else place.folder)
    if not any(len(index) for index in splits.values()):
        raise_errors([finding for index in splits.values() for finding in index.findings], place.path)
        raise DataError(Problem(place.path, "there are no labelled pictures", f"read as {form.name}: {form.help}"))
    if strict:
        raise_errors([finding for index in splits.values() for finding in index.findings], place.path)
    if names is not None:
        splits = {split: index.with_classes(names) for split, index in splits.items()}
    return splits if labelled_classes is None else _labelled_for(splits, labelled_classes)


def _labelled_for(splits: Mapping[str, Index], names: Sequence[str]) -> dict[str, Index]:
    known = next(iter(splits.values())).classes
    unknown = [unknown_class("data.labelled_classes", name, known) for name in names if name not in known]
    if unknown:
        raise DataError(*unknown)
    return {split: index.labelled_for(names) for split, index in splits.items()}


def read_index(
    path: str,
    *,
    format: str = "auto",  # noqa: A002  (the spec's word)
    images: str | None = None,
    classes: Sequence[str] | str = "auto",
    group: str | None = None,
    split: str | None = None,
    strict: bool = True,
) -> Index:
    """One data set, or one part of it. Raises DataError, also when it has several parts and `split` names none."""
    splits = read_splits(path, format=format, images=images, classes=classes, group=group, strict=strict)
    if split is None and len(splits) == 1:
        return next(iter(splits.values()))
    if split in splits:
        return splits[split]
    asked = f"there is no part '{split}'" if split else "the data set has several parts"
    raise DataError(
        Problem(str(path), asked, f"its parts are: {', '.join(splits)}", f"name one, e.g. {path}/{next(iter(splits))}")
    )
