"""What is wrong between the splits of a data set: leaks, and classes that can't be learnt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from espalier.data.duplicates import clusters
from espalier.data.findings import Finding
from espalier.data.index import Index
from espalier.data.scan import Scan


def between_splits(indexes: Mapping[str, Index], scans: Mapping[str, Scan]) -> Iterator[Finding]:
    """Classes that train never shows, and pictures of one split that show the same as one of another."""
    train = indexes.get("train")
    if train is None or len(indexes) < 2:
        return
    known = {name for name, count in zip(train.classes, train.counts()) if count}
    for split, index in indexes.items():
        if split == "train":
            continue
        for name, count in zip(index.classes, index.picture_counts()):
            if count and name not in known:
                what = f"the class '{name}' is on {count} pictures of {split} but on none of train: it can't be learnt"
                fix = "move some of its pictures to train, or leave it out by `espalier data filter`"
                yield Finding("error", "class-not-in-train", index.source, what, fix, split=split)
    for (a, row_a), (b, row_b) in leaks(scans):
        what = f"it shows the same as {indexes[b].path(row_b)} of {b}: scores on {b} will be too good"
        fix = f"take one of them out; `--fix DIR` takes it out of {a}"
        yield Finding("error", "leak", indexes[a].path(row_a), what, fix, (row_a,), split=a)


Place = tuple[str, int]


def leaks(scans: Mapping[str, Scan]) -> Iterator[tuple[Place, Place]]:
    """Pairs of (split, row) that are near-duplicates in different splits; of each pair, the earlier split first."""
    order = [split for split in ("train", "val", "test") if split in scans]
    order += [split for split in scans if split not in order]
    together = _joined([scans[split] for split in order])
    places = [(split, row) for split in order for row in range(len(scans[split].problems))]
    groups: dict[int, list[int]] = {}
    for position, cluster in enumerate(clusters(together).tolist()):
        groups.setdefault(cluster, []).append(position)
    for members in groups.values():
        for position in members[:-1]:
            other = next((m for m in reversed(members) if places[m][0] != places[position][0]), None)
            if other is not None and other > position:
                yield places[position], places[other]


def _joined(scans: Sequence[Scan]) -> Scan:
    return Scan(
        np.concatenate([part.size_hw for part in scans]),
        np.concatenate([part.orientation for part in scans]),
        np.concatenate([part.hash for part in scans]),
        np.concatenate([part.thumb for part in scans]),
        np.concatenate([part.missing for part in scans]),
        tuple(problem for part in scans for problem in part.problems),
        all(part.compared for part in scans),
    )
