"""The labelled pictures of a spec's `data` section: what is trained on and what is held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from espalier.actions import checked
from espalier.data.formats import read_splits
from espalier.data.index import Index
from espalier.data.split import split
from espalier.errors import DataError, Problem, SpecError
from espalier.runs.run import Run
from espalier.spec.sections import DataSpec, Spec
from espalier.tasks.base import Covering, Located, Task


@dataclass(frozen=True)
class Pictures:
    """A training and a validation set with the same classes; `words` says where the second is from."""

    train: Index
    val: Index
    words: str

    @property
    def fingerprint(self) -> str:
        """Changes with any path, label or class of either set."""
        return f"{self.train.fingerprint()}-{self.val.fingerprint()}"


def index(spec: Spec, task: Task, run: Run, *, look: bool) -> Pictures:
    """The pictures that a spec trains on: its validation set, else the data's own, else a grouped share held out.

    With `look` every picture and label is looked at first. Raises SpecError when the spec names no data, DataError for
    data that can't be used.
    """
    data = spec.data
    parts, words = _parts(data)
    parts = for_task(parts, task, data)
    seen = None
    if look:
        seen = checked.look(
            parts,
            task,
            run,
            max_pixels=data.max_pixels,
            source=str(data.train),
            compare=data.near_duplicates,
        ).seen["train"]
    train = parts["train"]
    warn_of_unlabelled(train, task, run)
    if "val" in parts:
        return Pictures(train, parts["val"], words)
    kept, held_out = split(train, data.val_fraction, seed=spec.seed, near_duplicates=data.near_duplicates, seen=seen)
    words = f"{len(held_out)} of {len(train)} pictures, held out by groups"
    return Pictures(train.subset(kept), train.subset(held_out), words)


def for_task(parts: Mapping[str, Index], task: Task, data: DataSpec) -> dict[str, Index]:
    """The parts with the classes that the task learns from them; as they are where `data.classes` names the classes."""
    if data.classes != "auto" or not isinstance(task, Covering):
        return dict(parts)
    train = parts["train"]
    classes = task.classes_for(train.classes, train.kinds)
    return {name: index.with_classes(classes) for name, index in parts.items()}


def _parts(data: DataSpec) -> tuple[dict[str, Index], str]:
    """`train`, and `val` where there is one; and where that is from."""
    if data.train is None:
        raise SpecError(Problem("data.train", "no training pictures are named", fix="add data.train=PATH"))
    splits = read_splits(
        data.train,
        format=data.format,
        images=data.images,
        classes=data.classes,
        group=data.group,
        labelled_classes=data.labelled_classes,
    )
    if "train" not in splits:
        raise DataError(Problem(data.train, f"there is no part 'train', only {', '.join(splits)}"))
    train = splits["train"]
    if data.val is not None:
        return {"train": train, "val": _validation(data.val, data, train)}, data.val
    if "val" in splits:
        return {"train": train, "val": splits["val"].with_classes(train.classes)}, f"{data.train}, its part 'val'"
    return {"train": train}, ""


def _validation(path: str, data: DataSpec, train: Index) -> Index:
    splits = read_splits(path, images=data.images, group=data.group)
    name = next((part for part in ("val", "test", "train") if part in splits), next(iter(splits)))
    return splits[name].with_classes(train.classes)


def warn_of_unlabelled(train: Index, task: Task, run: Run) -> None:
    """Says where pictures were not labelled for all classes, and the task takes them as if they were."""
    if train.partly.any() and not isinstance(task, Located):
        run.warn(
            f"{int(train.partly.sum())} pictures were labelled for some classes alone, and {task.name} can't leave the "
            "others open: there they count as not shown"
        )


def warn_of_unseen(train: Index, val: Index, run: Run) -> None:
    """Says which classes the validation set has and no picture to learn from shows."""
    shown, asked = train.picture_counts() > 0, val.picture_counts() > 0
    names = [name for name, learnt, wanted in zip(train.classes, shown, asked, strict=True) if wanted and not learnt]
    if names:
        run.warn(f"{', '.join(names)}: in the validation set, and in no picture to learn from: it can't be found there")
