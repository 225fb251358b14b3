"""fit's first step: read the pictures, look at every one, say what is wrong, and divide them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from espalier.actions.checked import TOLD, look
from espalier.actions.pictures import for_task, warn_of_unlabelled, warn_of_unseen
from espalier.data.check import CheckReport
from espalier.data.formats import read_splits
from espalier.data.index import Index
from espalier.data.scan import Scan
from espalier.data.split import split, units
from espalier.data.stats import stats, summary
from espalier.errors import DataError, Problem, UsageError
from espalier.runs.run import Run
from espalier.spec.sections import DataSpec, Spec
from espalier.tasks.base import Task

LEAST_PICTURES = 4  # two classes, a picture of each to learn from and one to score on


@dataclass(frozen=True)
class Gathered:
    """What is learnt from and kept apart; `words` say where `val` is from. Without it, k-fold gives the score."""

    train: Index
    val: Index | None
    test: Index | None
    words: str


def read(spec: Spec) -> dict[str, Index]:
    """The parts of `fit.photos` by name, 'train' always among them, all with its classes. No picture is read yet."""
    data = spec.data
    if spec.fit.photos is None:
        raise UsageError(Problem("fit.photos", "no pictures were named", fix="espalier fit PHOTOS"))
    indexes = read_splits(
        spec.fit.photos,
        format=data.format,
        images=data.images,
        classes=data.classes,
        group=data.group,
        labelled_classes=data.labelled_classes,
        strict=False,
    )
    if "train" not in indexes:
        raise DataError(Problem(spec.fit.photos, f"there is no part 'train', only {', '.join(indexes)}"))
    for name, path in (("val", data.val), ("test", data.test)):
        if path is not None:
            indexes[name] = _part(path, name, data)
    classes = indexes["train"].classes
    return {name: index if name == "train" else index.with_classes(classes) for name, index in indexes.items()}


def gather(indexes: Mapping[str, Index], spec: Spec, task: Task, run: Run, *, folds: bool) -> Gathered:
    """The parts checked, and divided as the task needs it; with `folds` few pictures are left whole, for the k-fold.

    Raises DataError with everything that stands in the way.
    """
    indexes = for_task(indexes, task, spec.data)
    _tell(indexes, run)
    warn_of_unlabelled(indexes["train"], task, run)
    report = look(indexes, task, run, max_pixels=spec.data.max_pixels, source=str(spec.fit.photos))
    _show(indexes, report, run)
    found = _divide(indexes, report.seen["train"], spec, run, folds=folds)
    val = None if found.val is None else _usable(found.val, task, run)
    found = replace(found, train=_usable(found.train, task, run), val=val)
    _refuse_too_few(found, task)
    if found.val is not None:
        warn_of_unseen(found.train, found.val, run)
    run.note(data={**summary(indexes), "fingerprint": indexes["train"].fingerprint()})
    return found


def _part(path: str, name: str, data: DataSpec) -> Index:
    splits = read_splits(path, images=data.images, group=data.group, strict=False)
    return next(
        (splits[part] for part in (name, "test", "val", "train") if part in splits), next(iter(splits.values()))
    )


def _tell(indexes: Mapping[str, Index], run: Run) -> None:
    """One line on the data."""
    parts = ", ".join(f"{name} {len(index)}" for name, index in indexes.items())
    train = indexes["train"]
    shown = ", ".join(train.classes[:TOLD]) + (", …" if len(train.classes) > TOLD else "")
    many = f"{len(train.classes)} class{'' if len(train.classes) == 1 else 'es'}"
    run.say(f"data: {parts} pictures of {many} ({shown}), read as {train.format}")


def _show(indexes: Mapping[str, Index], report: CheckReport, run: Run) -> None:
    """The data and what was found in it, in the report."""
    for block in (*report.blocks(), *stats(indexes, report.seen)):
        run.block("data", block)
    run.emit("data", **summary(indexes))


def _divide(indexes: Mapping[str, Index], seen: Scan, spec: Spec, run: Run, *, folds: bool) -> Gathered:
    train, test = indexes["train"], indexes.get("test")
    if "val" in indexes:
        run.say(f"scores on the validation set that was given: {len(indexes['val'])} pictures")
        return Gathered(train, indexes["val"], test, "the validation set")
    count = int(labelled(train).sum())
    if folds and count < spec.fit.few_pictures:
        few = f"{count} labelled pictures, fewer than {spec.fit.few_pictures}"
        run.say(f"{few}: scores by repeated k-fold, then all are used")
        return Gathered(_grouped(train, seen, spec, run), None, test, "")
    data = spec.data
    kept, held_out = split(train, data.val_fraction, seed=spec.seed, near_duplicates=data.near_duplicates, seen=seen)
    run.say(f"held out {len(held_out)} of {len(train)} pictures to score on, groups and near-duplicates kept whole")
    words = f"{len(held_out)} of {len(train)} pictures that were held out"
    return Gathered(train.subset(kept), train.subset(held_out), test, words)


def _grouped(index: Index, seen: Scan, spec: Spec, run: Run) -> Index:
    """The pictures with near-duplicates in one group, where there are any: folds and intervals keep them whole."""
    if not spec.data.near_duplicates:
        return index
    alone, joined = (units(index, near_duplicates=near, seen=seen) for near in (False, True))
    fewer = int(alone.max(initial=-1) - joined.max(initial=-1))
    if not fewer:
        return index
    run.say(f"near-duplicates: {len(index)} pictures make {int(joined.max()) + 1} groups that are kept whole")
    names = np.empty(len(index), np.object_)
    names[:] = [f"group {unit}" for unit in joined]
    return replace(index, group=names)


def labelled(index: Index) -> NDArray[np.bool_]:
    """(N,) which pictures have a label."""
    return np.asarray(np.diff(index.offsets) > 0)


def _usable(index: Index, task: Task, run: Run) -> Index:
    """Without the pictures that have no label, unless that is an answer, too: nothing there, or none of the classes."""
    bare = ~labelled(index)
    if index.multi_label or not bare.any():
        return index
    if task.background:
        run.say(f"{int(bare.sum())} of {len(index)} pictures have no label: they are learnt from as background")
        return index
    run.say(f"{int(bare.sum())} pictures without a label are left out")
    return index.subset(~bare)


def _refuse_too_few(found: Gathered, task: Task) -> None:
    train = found.train
    least = 1 if task.background or train.multi_label else 2
    present = int((train.picture_counts() > 0).sum())
    fix = "label more pictures"
    if present < least:
        what = f"only {present} class has pictures to learn from" if least == 2 else "no picture has a label"
        wanted, how = ("at least two classes", "put each class into its own folder") if least == 2 else ("", fix)
        raise DataError(Problem(train.source, what, wanted, how))
    if len(train) < LEAST_PICTURES:
        raise DataError(Problem(train.source, f"{len(train)} labelled pictures are too few", f"{LEAST_PICTURES}", fix))
    if found.val is not None and not labelled(found.val).any():
        raise DataError(Problem(found.val.source, "the validation set has no labelled picture", fix=fix))
