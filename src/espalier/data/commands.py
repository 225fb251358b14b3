"""What `espalier data …` does: each command reads a data set, and none ever changes it."""

# ruff: noqa: A002  (`format` is the spec's word)

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from espalier import storage
from espalier.blocks import Block
from espalier.commands import Reply
from espalier.data import check as checking
from espalier.data import convert as converting
from espalier.data import fix as fixing
from espalier.data import split as splitting
from espalier.data import stats as counting
from espalier.data.convert import Pictures
from espalier.data.formats import read_splits
from espalier.data.formats.base import SPLIT_NAMES, Loss, split_in_name
from espalier.data.index import Index
from espalier.errors import Problem, UsageError
from espalier.vision.image import MAX_PIXELS


def check(
    paths: Sequence[str],
    *,
    fix: str | None,
    out: str | None,
    format: str,
    images: str | None,
    group: str | None,
    max_pixels: int = MAX_PIXELS,
) -> Reply:
    """The findings; exit code 1 when there are errors. With `fix`, also what the corrected copy left out."""
    indexes = _read(paths, format, images, group, strict=False)
    report = checking.check(indexes, max_pixels=max_pixels)
    lines = [*report.lines(), *_page(out, "Data check", (*report.blocks(), *counting.stats(indexes, report.seen)))]
    data: dict[str, Any] = {"ok": report.ok, "findings": [dataclasses.asdict(finding) for finding in report.findings]}
    if fix is not None:
        converting.refuse_target(Path(fix), paths)
        losses = fixing.fix(indexes, report.seen, Path(fix))
        lines += [f"corrected copy: {fix}", *_told(losses)]
        data |= {"fixed": fix, "changes": _counted(losses)}
    return Reply(tuple(lines), data, 0 if report.ok else 1)


def stats(paths: Sequence[str], *, out: str | None, format: str, images: str | None, group: str | None) -> Reply:
    """The counts; with `out` also a page with plots."""
    indexes = _read(paths, format, images, group, strict=False)
    lines = []
    for split, index in indexes.items():
        lines.append(f"{split}: {len(index)} pictures, {len(index.class_id)} labels ({', '.join(sorted(index.kinds))})")
        lines += [f"  {count:>8} {name}" for name, count in zip(index.classes, index.picture_counts().tolist())]
    pages = _page(out, "Data", counting.stats(indexes)) if out else ()
    return Reply((*lines, *pages), counting.summary(indexes))


def split(
    path: str, out: str, *, val: float, test: float, seed: int, ignore_near_duplicates: bool,
    format: str, images: str | None, group: str | None, to: str | None, pictures: Pictures,
) -> Reply:  # fmt: skip
    """Writes the data set with its parts."""
    if not (val >= 0 and test >= 0 and 0 < val + test < 1):
        raise UsageError(Problem("--val, --test", "the shares must be positive and leave something for train"))
    indexes = _read([path], format, images, group, strict=True)
    if len(indexes) > 1:
        raise UsageError(Problem(path, f"it is split already: {', '.join(indexes)}"))
    (index,) = indexes.values()
    shares = {"train": 1 - val - test, "val": val, "test": test}
    named = {name: share for name, share in shares.items() if share > 0}
    parts = splitting.parts(index, tuple(named.values()), seed=seed, near_duplicates=not ignore_near_duplicates)
    return _written([path], {name: index.subset(rows) for name, rows in zip(named, parts)}, out, to, pictures)


def convert(
    path: str,
    out: str,
    *,
    format: str,
    images: str | None,
    group: str | None,
    to: str | None,
    pictures: Pictures,
) -> Reply:
    """Writes the data set in another format."""
    return _written([path], _read([path], format, images, group, strict=True), out, to, pictures)


def merge(
    paths: Sequence[str], *, into: str, complete: bool = False, format: str, images: str | None, group: str | None,
    to: str | None, pictures: Pictures,
) -> Reply:  # fmt: skip
    """Writes all data sets as one; `complete` says that each was labelled for the classes of all."""
    if len(paths) < 2:
        raise UsageError(Problem("PATHS", "name at least two data sets to merge"))
    sets = [read_splits(path, format=format, images=images, group=group) for path in paths]
    merged, losses = converting.merge(sets, complete=complete)
    first = next(iter(sets[0].values())).format
    reply = _written(paths, merged, into, to or first, pictures, losses)
    return dataclasses.replace(reply, lines=(*reply.lines, *_unlabelled(merged)))


def _unlabelled(splits: Mapping[str, Index]) -> list[str]:
    """How many pictures were not labelled for which class."""
    return [
        f"{split}: {count} of {len(index)} pictures were not labelled for '{name}': it is neither right nor wrong there"
        for split, index in splits.items()
        for name, count in zip(index.classes, index.unlabelled_counts().tolist())
        if count
    ]


def filter_labels(
    path: str, out: str, *, classes: Sequence[str], without: Sequence[str], smallest: float, no_crowd: bool,
    labelled_only: bool, format: str, images: str | None, group: str | None, to: str | None, pictures: Pictures,
) -> Reply:  # fmt: skip
    """Writes what was kept."""
    indexes = _read([path], format, images, group, strict=True)
    kept, losses = converting.keep(
        indexes, classes=classes or None, without=without, smallest_px=smallest, crowd=not no_crowd,
        unlabelled=not labelled_only,
    )  # fmt: skip
    form = next(iter(indexes.values())).format
    unlabelled = form == "folders" and (to or form) == "folders"
    if unlabelled:  # a picture in no class folder is not in the data set
        kept = {split: index.subset(index.offsets[1:] > index.offsets[:-1]) for split, index in kept.items()}
    return _written([path], kept, out, to or form, pictures, losses)


def remap(
    path: str, out: str, *, names: Mapping[str, str], format: str, images: str | None, group: str | None,
    to: str | None, pictures: Pictures,
) -> Reply:  # fmt: skip
    """Writes the data set with other class names."""
    if not isinstance(names, Mapping) or not all(
        isinstance(name, str | int) for pair in names.items() for name in pair
    ):
        raise UsageError(
            Problem("--names", f"{names!r} is no mapping of names", "e.g. '{car: vehicle, lorry: vehicle}'")
        )
    indexes = _read([path], format, images, group, strict=True)
    renamed = converting.remap(indexes, {str(old): str(new) for old, new in names.items()})
    return _written([path], renamed, out, to, pictures)


def _read(
    paths: Sequence[str], format: str, images: str | None, group: str | None, *, strict: bool
) -> dict[str, Index]:
    """One data set with its parts, or several paths that are the parts of one."""
    if len(paths) == 1:
        return read_splits(paths[0], format=format, images=images, group=group, strict=strict)
    found: dict[str, Index] = {}
    for path, name in zip(paths, _split_names(paths)):
        parts = read_splits(path, format=format, images=images, group=group, strict=strict)
        found |= parts if len(parts) > 1 else dict(zip([name], parts.values()))
    classes = tuple(dict.fromkeys(name for index in found.values() for name in index.classes))
    return {split: index.with_classes(classes) for split, index in found.items()}


def _split_names(paths: Sequence[str]) -> list[str]:
    """The split that each path's name speaks of; train, val, test by order where one does not say."""
    said = [SPLIT_NAMES.get(PurePosixPath(path).name.lower()) or split_in_name(path) for path in paths]
    if None not in said and len(set(said)) == len(said):
        return [name for name in said if name]
    if len(paths) > 3:
        raise UsageError(Problem("PATHS", "at most three data sets (train, val, test) are checked together"))
    return ["train", "val", "test"][: len(paths)]


def _written(
    paths: Sequence[str],
    splits: Mapping[str, Index],
    out: str,
    to: str | None,
    pictures: Pictures,
    losses: Sequence[Loss] = (),
) -> Reply:
    converting.refuse_target(Path(out), paths)
    form = to or next(iter(splits.values())).format
    notes = [f for index in splits.values() for f in index.findings if f.code == "not-kept"]
    lost = [*losses, *converting.write(splits, Path(out), format=form, pictures=pictures)]
    sizes = ", ".join(f"{split} {len(index)}" for split, index in splits.items())
    lines = (f"{out}: {form}, pictures: {sizes}", *(f"not kept: {note.what}" for note in notes), *_told(lost))
    data = {"out": out, "format": form, "pictures": {split: len(index) for split, index in splits.items()},
            "losses": _counted(lost), "not_kept": [note.what for note in notes]}  # fmt: skip
    return Reply(lines, data)


def _told(losses: Sequence[Loss]) -> list[str]:
    return [f"  {loss}" for loss in losses] or ["  nothing was lost"]


def _counted(losses: Sequence[Loss]) -> dict[str, int]:
    return {loss.what: loss.count for loss in losses}


def _page(out: str | None, title: str, blocks: Sequence[Block]) -> tuple[str, ...]:
    if out is None:
        return ()
    from espalier.runs.report import render_blocks  # the page's templates are read only when one is written

    storage.write_atomic(out, render_blocks(title, blocks, Path()))
    return (f"page: {out}",)
