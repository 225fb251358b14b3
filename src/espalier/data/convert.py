"""New data sets from old ones: converted, merged, filtered, with other class names. Each tells what got lost."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from espalier import storage
from espalier.data import labelled_classes
from espalier.data.formats import get
from espalier.data.formats.base import Format, Loss, Predicting
from espalier.data.index import Index, join, unknown_class
from espalier.data.mask_outlines import as_outlines
from espalier.errors import DataError, EspalierError, Problem, RunExistsError, UsageError

Pictures = Literal["copy", "reference"]
Splits = Mapping[str, Index]


def write(
    splits: Splits,
    folder: Path,
    *,
    format: str,  # noqa: A002  (the spec's word)
    pictures: Pictures = "copy",
    upright: Mapping[str, NDArray[np.bool_]] | None = None,
) -> tuple[Loss, ...]:
    """Writes a new data set into `folder`, all or nothing; says what its format could not hold.

    `reference` leaves the pictures where they are. `upright` marks pictures to be stored turned as EXIF says. Raises
    DataError for pictures that are missing, RunExistsError when the folder isn't empty, UsageError when it lies in one
    that is read.
    """
    form = get(format)
    splits, unmasked = _outlined(splits, form)
    if pictures == "reference" and not form.refers:
        what = f"a data set of the format {form.name} finds its pictures by where they lie"
        raise UsageError(Problem("--pictures", what, "copy, or another format"))
    refuse_target(folder, (index.source for index in splits.values()))
    parted = len(splits) > 1 or set(splits) != {"train"}
    with storage.atomic_folder(folder) as made:
        if pictures == "copy":
            places = {s: form.place_pictures(index, s if parted else "") for s, index in splits.items()}
            names = _unique(places, by_stem=form.by_stem)
            _copy(splits, names, made, upright or {})
        else:
            names = {
                split: [_absolute(index.path(row)) for row in range(len(index))] for split, index in splits.items()
            }
        losses = form.write(splits, names, made)
        if not form.tells_classes:
            losses = (*losses, *labelled_classes.write(splits, names, made))
    turned = sum(int(rows.sum()) for rows in (upright or {}).values())
    return (*unmasked, *losses, *([Loss("pictures turned upright and encoded anew", turned)] if turned else []))


def _outlined(splits: Splits, form: Format) -> tuple[Splits, tuple[Loss, ...]]:
    """The splits with outlines in place of masks, for a format that holds outlines and no masks."""
    if "mask" in form.holds or not form.holds & {"polygon", "rle"}:
        return splits, ()
    found = {split: as_outlines(index) for split, index in splits.items()}
    unknown = sum(pixels for _, pixels in found.values())
    losses = (Loss("pixels of which nothing is known, now background", unknown),) if unknown else ()
    return {split: index for split, (index, _) in found.items()}, losses


def write_predictions(
    index: Index,
    score_M: NDArray[np.float64],
    folder: Path,
    *,
    format: str,  # noqa: A002  (the spec's word)
    model: str,
) -> tuple[Loss, ...]:
    """Writes what a model said of pictures as a new data set, with scores; all or nothing. Pictures stay where they are
    if the format allows that, else they are copied. Raises as `write` does."""
    form = get(format)
    if not isinstance(form, Predicting):
        raise UsageError(Problem("predict.formats", f"the data format {form.name} keeps no predictions"))
    with storage.atomic_folder(folder) as made:
        names = [_absolute(index.path(row)) for row in range(len(index))]
        if not form.refers:
            names = _unique({"": form.place_pictures(index, "")}, by_stem=form.by_stem)[""]
            _copy({"": index}, {"": names}, made, {})
        return form.write_predictions(index, score_M, names, made, model=model)


def refuse_target(folder: Path, sources: Iterable[str]) -> None:
    """Raises RunExistsError for a folder that isn't empty, UsageError for one inside a folder that is read."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunExistsError(Problem(str(folder), "is there already and not empty", fix="name a new folder"))
    for source in sources:
        is_folder = not storage.is_remote(source) and Path(source).is_dir()
        if is_folder and folder.resolve().is_relative_to(Path(source).resolve()):
            text = f"lies inside {source}, which is read and never written to"
            raise UsageError(Problem(str(folder), text, fix="name a folder elsewhere"))


def _absolute(path: str) -> str:
    return path if "://" in path else str(Path(path).resolve())


def _unique(places: Mapping[str, Sequence[str]], *, by_stem: bool) -> dict[str, list[str]]:
    """The places with a number added where two pictures would get the same; case does not tell names apart.

    `by_stem`: neither does the ending.
    """
    taken: set[str] = set()
    names: dict[str, list[str]] = {}
    for split, wanted in places.items():
        names[split] = [_free(name, taken, by_stem=by_stem) for name in wanted]
    return names


def _free(name: str, taken: set[str], *, by_stem: bool) -> str:
    path = PurePosixPath(name)
    stem, suffix = str(path.with_suffix("")), path.suffix
    number, free = 2, stem
    while (key := (free if by_stem else free + suffix).lower()) in taken:
        free = f"{stem}-{number}"
        number += 1
    taken.add(key)
    return free + suffix


def _copy(
    splits: Splits, names: Mapping[str, Sequence[str]], folder: Path, upright: Mapping[str, NDArray[np.bool_]]
) -> None:
    problems: list[Problem] = []
    for split, index in splits.items():
        turn = upright.get(split)
        for row, name in enumerate(names[split]):
            try:
                content = storage.read_bytes(index.path(row))
            except EspalierError as error:
                problems += error.problems
                continue
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(turned_upright(content) if turn is not None and turn[row] else content)
    if problems:
        fix = "`espalier data check` lists all; with `--fix DIR` it leaves them out"
        raise DataError(*problems[:20], Problem("", f"{len(problems)} pictures can't be copied", fix=fix))


def turned_upright(content: bytes) -> bytes:
    """The picture's file with its pixels turned as EXIF says and the mark taken away; JPEG at quality 95."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(content)) as picture:
        kind = picture.format or "PNG"
        settings: dict[str, int] = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
        ImageOps.exif_transpose(picture).save(out, kind, **settings)
    return out.getvalue()


def merge(sets: Sequence[Splits], *, complete: bool = False) -> tuple[dict[str, Index], tuple[Loss, ...]]:
    """All pictures of several data sets, split by split; classes with the same name are one.

    A set's objects were not labelled for classes that it doesn't have, unless `complete` says that every set was
    labelled for all. Ids are numbered anew. Paths become absolute, since the sets lie in different places.
    """
    classes = tuple(dict.fromkeys(name for splits in sets for index in splits.values() for name in index.classes))
    whole: dict[str, list[Index]] = {}
    for number, splits in enumerate(sets):
        for split, index in splits.items():
            rooted = _rooted(index, number)
            if not complete and _has_objects(splits) and len(index.classes) < len(classes):
                rooted = _for_its_own_classes(rooted)
            whole.setdefault(split, []).append(rooted.with_classes(classes))
    merged = {split: join(parts, source=parts[0].source) for split, parts in whole.items()}
    own = [index for splits in sets for index in splits.values() if index.format == "coco"]
    renumbered = sum(len(index.class_id) for index in own)
    return merged, (Loss("annotation ids, numbered anew", renumbered),) if renumbered else ()


def _has_objects(splits: Splits) -> bool:
    """Are labels more than one word for a whole picture?"""
    return any(index.kinds - {"label"} for index in splits.values())


def _for_its_own_classes(index: Index) -> Index:
    """The index with pictures that were labelled for no class that it doesn't have."""
    unlabelled = np.zeros((len(index), len(index.classes) + 1), np.bool_)
    if index.unlabelled is not None:
        unlabelled |= index.unlabelled
    unlabelled[:, -1] = True
    return replace(index, unlabelled=unlabelled)


def _rooted(index: Index, number: int) -> Index:
    """The index with absolute paths; groups of different sets never mean the same."""
    paths = np.empty(len(index), np.object_)
    paths[:] = [_absolute(index.path(row)) for row in range(len(index))]
    group = index.group
    if group is not None:
        group = np.array([f"{number}/{key}" if key else "" for key in group], np.object_)
    return replace(index, root="", paths=paths, group=group, format="merged")


def remap(splits: Splits, names: Mapping[str, str]) -> dict[str, Index]:
    """The data set with classes renamed; two that get the same name become one. Raises DataError for unknown names."""
    known = list(dict.fromkeys(name for index in splits.values() for name in index.classes))
    unknown = [unknown_class("remap", name, known) for name in names if name not in known]
    if unknown:
        raise DataError(*unknown)
    return {split: _renamed(index, names) for split, index in splits.items()}


def _renamed(index: Index, names: Mapping[str, str]) -> Index:
    new_names = [names.get(name, name) for name in index.classes]
    classes = tuple(dict.fromkeys(new_names))
    table = np.array([classes.index(name) for name in new_names], np.int64)
    ids = [int(index.class_ids[new_names.index(name)]) for name in classes]
    class_id = table[index.class_id] if len(index.class_id) else index.class_id
    unlabelled = None if index.unlabelled is None else _any_of(index.unlabelled, table, len(classes))
    class_ids = np.array(ids, np.int64)
    masks = index.masks_by(table, len(classes))
    return replace(index, classes=classes, class_ids=class_ids, class_id=class_id, unlabelled=unlabelled, masks=masks)


def _any_of(unlabelled: NDArray[np.bool_], table: NDArray[np.int64], classes: int) -> NDArray[np.bool_]:
    """(N, C + 1) for classes made of others by `table`: labelled only where all of these were."""
    found = np.zeros((len(unlabelled), classes + 1), np.bool_)
    for old, new in enumerate([*table.tolist(), classes]):
        found[:, new] |= unlabelled[:, old]
    return found


def keep(
    splits: Splits,
    *,
    classes: Iterable[str] | None = None,
    without: Iterable[str] = (),
    smallest_px: float = 0.0,
    crowd: bool = True,
    unlabelled: bool = True,
) -> tuple[dict[str, Index], tuple[Loss, ...]]:
    """The data set with some classes only (`classes`, or all but `without`), without boxes narrower than `smallest_px`.

    `crowd=False` drops crowd annotations, `unlabelled=False` the pictures that are left without any label. Raises
    DataError for an unknown class.
    """
    known = list(dict.fromkeys(name for index in splits.values() for name in index.classes))
    asked = [*(classes or ()), *without]
    unknown = [unknown_class("filter", name, known) for name in asked if name not in known]
    if unknown:
        raise DataError(*unknown)
    wanted = [name for name in (known if classes is None else list(classes)) if name not in set(without)]
    kept = {
        split: _kept(index, wanted, smallest_px=smallest_px, crowd=crowd, unlabelled=unlabelled)
        for split, index in splits.items()
    }
    labels = sum(len(splits[split].class_id) - len(index.class_id) for split, index in kept.items())
    pictures = sum(len(splits[split]) - len(index) for split, index in kept.items())
    return kept, tuple(Loss(what, n) for what, n in (("labels", labels), ("pictures", pictures)) if n)


def _kept(index: Index, wanted: Sequence[str], *, smallest_px: float, crowd: bool, unlabelled: bool) -> Index:
    of_class = np.array([name in set(wanted) for name in index.classes], np.bool_)
    good = of_class[index.class_id] if len(index.class_id) else np.zeros(0, np.bool_)
    x1, y1, x2, y2 = index.box_xyxy.T
    good &= ~(np.minimum(x2 - x1, y2 - y1) < smallest_px)
    if not crowd:
        good &= ~index.is_crowd
    smaller = index.keep_annotations(good).with_classes(wanted)
    return smaller if unlabelled else smaller.subset(np.diff(smaller.offsets) > 0)
