"""Public data sets by name: how their folder looks when it is as published, and how many pictures each part has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from espalier import storage
from espalier.errors import DataError, Problem


@dataclass(frozen=True)
class Layout:
    """What a folder must hold: `parts` by their split, each with its label file, its pictures and their number."""

    title: str
    source: str
    parts: Mapping[str, Part]

    def check(self, folder: str, splits: tuple[str, ...]) -> None:
        """Raises DataError, one for all that lacks, with the whole layout."""
        wanted = [path for split in splits for path in (self.parts[split].labels, self.parts[split].pictures)]
        missing = [path for path in wanted if not storage.exists(storage.join(folder, path))]
        if missing:
            what = f"is not {self.title} as published: it has no {', no '.join(missing)}"
            raise DataError(Problem(folder, what, f"expected {self.words(splits)}", f"download it: {self.source}"))

    def words(self, splits: tuple[str, ...]) -> str:
        """The layout in one line."""
        told = (
            f"{part.labels}, {part.pictures}/ ({part.count:,} pictures)" for part in map(self.parts.get, splits) if part
        )
        return "; ".join(told)


@dataclass(frozen=True)
class Part:
    """A split of a published data set."""

    labels: str
    pictures: str
    count: int


LAYOUTS: Mapping[str, Layout] = {
    "coco2017": Layout(
        title="COCO 2017",
        source="https://cocodataset.org/#download",
        parts={
            "train": Part("annotations/instances_train2017.json", "train2017", 118_287),
            "val": Part("annotations/instances_val2017.json", "val2017", 5_000),
        },
    ),
}
