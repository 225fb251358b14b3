"""The outlines of annotations, kept as the JSON text of their file and decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from espalier.errors import DataError, Problem


@dataclass(frozen=True)
class Segments:
    """M outlines: row i is `text[start[i]:stop[i]]`, JSON in COCO's form; an empty slice is no outline."""

    text: bytes | bytearray
    start_M: NDArray[np.int64]
    stop_M: NDArray[np.int64]

    @staticmethod
    def empty(count: int) -> Segments:
        """`count` rows without an outline."""
        return Segments(b"", np.zeros(count, np.int64), np.zeros(count, np.int64))

    @staticmethod
    def of(texts: Iterable[bytes]) -> Segments:
        """One row for each JSON text; empty text is no outline."""
        rows = list(texts)
        sizes = np.array([len(row) for row in rows], np.int64)
        ends = np.cumsum(sizes)
        return Segments(b"".join(rows), ends - sizes, ends)

    @staticmethod
    def join(parts: Sequence[Segments]) -> Segments:
        """The rows of all parts, one after the other."""
        shifts = np.cumsum([0, *(len(part.text) for part in parts)])
        return Segments(
            b"".join(part.text for part in parts),
            np.concatenate([part.start_M + shift for part, shift in zip(parts, shifts)] or [np.zeros(0, np.int64)]),
            np.concatenate([part.stop_M + shift for part, shift in zip(parts, shifts)] or [np.zeros(0, np.int64)]),
        )

    def __len__(self) -> int:
        return len(self.start_M)

    def take(self, rows: NDArray[np.int64] | slice) -> Segments:
        """Some of the rows; the text is shared."""
        return Segments(self.text, self.start_M[rows], self.stop_M[rows])

    def raw(self, row: int) -> bytes:
        """The JSON text of one outline, or b""."""
        return bytes(self.text[int(self.start_M[row]) : int(self.stop_M[row])])

    def kind(self, row: int) -> str:
        """'polygon', 'rle' or '' (none), told by the first character alone."""
        text = self.raw(row)
        if text[:1] == b"{":
            return "rle"
        return "polygon" if text[:1] == b"[" and len(text) > 2 else ""

    def kinds(self) -> frozenset[str]:
        """Which kinds of outline there are among the rows."""
        filled = self.stop_M - self.start_M > 2
        if not filled.any():
            return frozenset()
        first = np.frombuffer(self.text, np.uint8)[self.start_M[filled]]
        names = {ord("{"): "rle", ord("["): "polygon"}
        return frozenset(names[int(value)] for value in np.unique(first) if int(value) in names)

    def __getitem__(self, row: int) -> list[list[float]] | dict[str, Any] | None:
        """COCO's polygons (lists of x, y, x, y, …), its RLE as {'size', 'counts'}, or None.

        Raises DataError for an outline that is neither.
        """
        text = self.raw(row)
        if not text or text in (b"null", b"[]"):
            return None
        import msgspec

        try:
            return _decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DataError(
                Problem(
                    "segmentation",
                    f"{text[:60].decode('utf-8', 'replace')}: {error}",
                    expected="a list of polygons [x, y, x, y, …], or an RLE {'size': [height, width], 'counts': …}",
                )
            ) from error


class Rle(TypedDict):
    """A COCO run-length mask: `size` is (height, width), `counts` are runs or their compressed text."""

    size: tuple[int, int]
    counts: str | list[int]


def _decode(text: bytes) -> list[list[float]] | dict[str, Any]:
    polygons, rle = _decoders()
    found: list[list[float]] | dict[str, Any] = rle.decode(text) if text[:1] == b"{" else polygons.decode(text)
    return found


@cache
def _decoders() -> tuple[Any, Any]:
    """Of polygons, and of run lengths. Made when they are first needed: labels without outlines need no msgspec."""
    import msgspec

    return msgspec.json.Decoder(list[list[float]]), msgspec.json.Decoder(Rle)
