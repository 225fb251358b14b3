"""The pictures and labels of one split while a reader finds them, one by one; kept as plain numbers."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from espalier.data.findings import Finding
from espalier.data.index import UNKNOWN, Index, assemble
from espalier.data.segments import Segments

NO_BOX = (math.nan, math.nan, math.nan, math.nan)
_FARTHEST_PX = 1e9
BoxXyxy = tuple[float, float, float, float]


class Rows:
    """Grows by `picture` and `label`, and becomes an Index. `classes` numbers the class names and may be shared."""

    def __init__(self, classes: dict[str, int]) -> None:
        self.paths: list[str] = []
        self._classes = classes
        self._sizes: list[tuple[int, int]] = []
        self._files: list[str] = []
        self._groups: list[str] = []
        self._ignored: dict[int, list[BoxXyxy]] = {}
        self._image_row, self._class, self._line = array("q"), array("q"), array("q")
        self._box, self._is_crowd = array("d"), array("b")
        self._outlines: list[bytes] = []

    def picture(
        self, path: str, *, size_hw: tuple[int, int] = (UNKNOWN, UNKNOWN), file: str = "", group: str = ""
    ) -> int:
        """Adds a picture, with the label file that is its own; gives its row."""
        self.paths.append(path)
        self._sizes.append(size_hw)
        self._files.append(file)
        self._groups.append(group)
        return len(self.paths) - 1

    def label(
        self, row: int, name: str, box: BoxXyxy = NO_BOX, *, crowd: bool = False, line: int = 0, outline: bytes = b""
    ) -> None:
        """Adds a label to a picture; `outline` is JSON in COCO's form."""
        self._image_row.append(row)
        self._class.append(self._classes.setdefault(name, len(self._classes)))
        self._box.extend(box)
        self._is_crowd.append(crowd)
        self._line.append(line)
        self._outlines.append(outline)

    def size_hw(self, row: int) -> tuple[int, int]:
        """The size that a picture was added with."""
        return self._sizes[row]

    def ignore(self, row: int, box: BoxXyxy) -> None:
        """Adds a region of a picture in which nothing was labelled."""
        self._ignored.setdefault(row, []).append(box)

    def index(
        self,
        classes: Sequence[str],
        *,
        class_ids: Sequence[int] | None = None,
        root: str,
        source: str,
        format: str,  # noqa: A002  (the spec's word)
        findings: Sequence[Finding] = (),
        names: Mapping[str, str] | None = None,
    ) -> Index:
        """All that was added, with class ids in the order of `classes`; `names` are other names for those of labels."""
        place = {name: position for position, name in enumerate(classes)}
        called = names or {}
        table = np.array([place.get(called.get(name, name), UNKNOWN) for name in self._classes], np.int64)
        with np.errstate(over="ignore"):
            box_xyxy = np.array(self._box, np.float64).astype(np.float32).reshape(-1, 4)
        return assemble(
            root=root,
            source=source,
            format=format,
            paths=self.paths,
            classes=classes,
            class_ids=None if class_ids is None else np.array(class_ids, np.int64),
            image_row=np.array(self._image_row, np.int64),
            class_id=table[np.array(self._class, np.int64)] if len(self._class) else np.zeros(0, np.int64),
            box_xyxy=box_xyxy,
            is_crowd=np.array(self._is_crowd, np.bool_),
            line=np.array(self._line, np.int64),
            segments=Segments.of(self._outlines) if any(self._outlines) else None,
            size_hw=np.array(self._sizes, np.int32).reshape(-1, 2),
            group=self._groups if any(self._groups) else None,
            files=self._files if any(self._files) else None,
            ignored=self._ignored,
            findings=findings,
        )


def numbers(texts: Iterable[str]) -> list[float] | None:
    """The texts as numbers that can be places in a picture; None when one of them is none."""
    try:
        values = [float(text) for text in texts]
    except ValueError:
        return None
    return values if all(abs(value) < _FARTHEST_PX for value in values) else None
